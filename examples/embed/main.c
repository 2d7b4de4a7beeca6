/* Classifies images with a .quench model: all that a C program needs to run one.
 *
 *     quench data synthetic:shapes,count=8 -o images.npy
 *     cc -std=c99 main.c -lquench_runtime -lpthread -lm -o classify
 *     ./classify resnet20-shapes.quench images.npy circle square triangle pentagon star cross ring crescent heart arrow
 */
#include <quench/quench.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kChannels = 3, kSide = 32, kImageValues = kChannels * kSide * kSide };

/* Opens a .npy file of float32 images and skips its header, whose length stands in bytes 8 and 9. */
static FILE* open_images(const char* path) {
  unsigned char prefix[10];
  FILE* file = fopen(path, "rb");
  if (!file) return NULL;
  if (fread(prefix, 1, sizeof prefix, file) != sizeof prefix || memcmp(prefix, "\x93NUMPY\x01", 7) != 0 ||
      fseek(file, prefix[8] + 256L * prefix[9], SEEK_CUR) != 0) {
    fclose(file);
    return NULL;
  }
  return file;
}

/* One image in, its class out; an error of the runtime is returned. */
static quench_code classify(quench_session* session, const float* image, size_t* best, quench_status* status) {
  const int64_t shape[] = {1, kChannels, kSide, kSide};
  quench_tensor scores;
  size_t i, count;
  if (quench_session_set_input(session, 0, image, shape, 4, status) || quench_session_run(session, status) ||
      quench_session_output(session, 0, &scores, status)) {
    return status->code;
  }
  count = scores.bytes / sizeof(float);
  for (*best = 0, i = 1; i < count; ++i) {
    if (((const float*)scores.data)[i] > ((const float*)scores.data)[*best]) *best = i;
  }
  return QUENCH_OK;
}

int main(int argc, char** argv) {
  quench_status status = QUENCH_STATUS_INIT;
  quench_model* model = NULL;
  quench_session* session = NULL;
  static float image[kImageValues];
  FILE* images;
  size_t number, best = 0;

  if (argc < 3) {
    fprintf(stderr, "usage: %s MODEL.quench IMAGES.npy [NAME_OF_CLASS...]\n", argv[0]);
    return 2;
  }
  images = open_images(argv[2]);
  if (!images) {
    fprintf(stderr, "%s: this is no .npy file that can be read\n", argv[2]);
    return 1;
  }
  if (!quench_model_open_file(argv[1], NULL, &model, &status)) quench_session_create(model, NULL, &session, &status);
  for (number = 0; status.code == QUENCH_OK && fread(image, sizeof image, 1, images) == 1; ++number) {
    if (classify(session, image, &best, &status) != QUENCH_OK) break;
    if (best + 3 < (size_t)argc) {
      printf("image %u: %s\n", (unsigned)number, argv[best + 3]);
    } else {
      printf("image %u: class %u\n", (unsigned)number, (unsigned)best);
    }
  }
  if (status.code == QUENCH_OK) {
    printf("memory: model %lu bytes, session %lu bytes at most\n", (unsigned long)quench_model_peak_bytes(model),
           (unsigned long)quench_session_peak_bytes(session));
  } else {
    fprintf(stderr, "%s: %s\n", argv[1], status.message);
  }
  quench_session_release(session);
  quench_model_release(model);
  fclose(images);
  return status.code == QUENCH_OK ? 0 : 1;
}
