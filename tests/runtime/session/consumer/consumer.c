/* Exits 0 if the installed runtime opens what it should and refuses what it should. */
#include <quench/quench.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char** argv) {
  quench_status status = QUENCH_STATUS_INIT;
  quench_model* model = NULL;
  if (strcmp(quench_version(), "0.2.0") != 0) return 1;
  if (quench_model_open_memory("no model", 8, NULL, &model, &status) == QUENCH_OK || model != NULL) return 2;
  printf("%s: %s\n", quench_status_name(status.code), status.message);
  if (argc > 1 && quench_model_open_file(argv[1], NULL, &model, &status) != QUENCH_OK) {
    printf("%s: %s\n", quench_status_name(status.code), status.message);
    return 3;
  }
  quench_model_release(model);
  return 0;
}
