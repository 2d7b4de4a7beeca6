/* smoke MODEL: runs a model of N x 3 x 32 x 32 from memory on one made-up picture, and prints its ten scores: the same in
 * every build of the runtime. Needs neither threads nor quench_model_open_file. */
#include <quench/quench.h>
#include <stdio.h>
#include <stdlib.h>

enum { kValues = 3 * 32 * 32, kScores = 10, kLargestModel = 1 << 20 };

static unsigned char bytes[kLargestModel];
static float picture[kValues];

int main(int argc, char** argv) {
  const int64_t shape[] = {1, 3, 32, 32};
  quench_status status = QUENCH_STATUS_INIT;
  quench_model* model = NULL;
  quench_session* session = NULL;
  quench_tensor scores;
  size_t size;
  int i;
  FILE* file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (!file) return 2;
  size = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  for (i = 0; i < kValues; ++i) picture[i] = (float)((i * 7919) % 256) / 128 - 1;
  if (quench_model_open_memory(bytes, size, NULL, &model, &status) ||
      quench_session_create(model, NULL, &session, &status) ||
      quench_session_set_input(session, 0, picture, shape, 4, &status) || quench_session_run(session, &status) ||
      quench_session_output(session, 0, &scores, &status)) {
    fprintf(stderr, "%s: %s\n", quench_status_name(status.code), status.message);
    return 1;
  }
  for (i = 0; i < kScores; ++i) printf("%.3f\n", (double)((const float*)scores.data)[i]);
  quench_session_release(session);
  quench_model_release(model);
  return 0;
}
