/* Turns a .qim file into a picture that anything reads (.ppm, or .pgm where it is grey): all that a C program needs.
 *
 *     quench codec encode photo.png -o photo.qim --codec PREFIX --quality 4
 *     cc -std=c99 decode_image.c -lquench_image -lquench_runtime -lpthread -lm -o decode_image
 *     ./decode_image PREFIX.decoder.quench photo.qim photo.ppm
 */
#include <quench/image.h>
#include <stdio.h>
#include <stdlib.h>

/* A whole file; NULL where it cannot be read. */
static void* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  void* bytes = NULL;
  long length;
  if (!file) return NULL;
  if (fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
    *size = (size_t)length;
    bytes = malloc(*size > 0 ? *size : 1);
    if (bytes && fread(bytes, 1, *size, file) != *size) {
      free(bytes);
      bytes = NULL;
    }
  }
  fclose(file);
  return bytes;
}

static int write_picture(const char* path, const quench_image_pixels* pixels) {
  FILE* file = fopen(path, "wb");
  const size_t bytes = pixels->row_bytes * pixels->height;
  int written;
  if (!file) return 0;
  fprintf(file, "P%c\n%u %u\n255\n", pixels->format == QUENCH_IMAGE_GREY8 ? '5' : '6', (unsigned)pixels->width,
          (unsigned)pixels->height);
  written = fwrite(pixels->data, 1, bytes, file) == bytes;
  return fclose(file) == 0 && written;
}

int main(int argc, char** argv) {
  quench_status status = QUENCH_STATUS_INIT;
  quench_image_codec* codec = NULL;
  quench_image_info info;
  quench_image_pixels pixels = {NULL, 0, 0, 0, QUENCH_IMAGE_RGB8};
  void *decoder, *file;
  size_t decoder_size = 0, file_size = 0;
  int done = 0;

  if (argc != 4) {
    fprintf(stderr, "usage: %s DECODER.quench IN.qim OUT.ppm\n", argv[0]);
    return 2;
  }
  decoder = read_file(argv[1], &decoder_size);
  file = read_file(argv[2], &file_size);
  if (!decoder || !file) {
    fprintf(stderr, "%s: cannot be read\n", argv[decoder ? 2 : 1]);
  } else if (quench_image_codec_open(NULL, 0, decoder, decoder_size, NULL, &codec, &status)) {
    fprintf(stderr, "%s: %s\n", argv[1], status.message);
  } else if (quench_image_read_info(file, file_size, &info, &status)) {
    fprintf(stderr, "%s: %s\n", argv[2], status.message);
  } else {
    pixels.format = info.is_grey ? QUENCH_IMAGE_GREY8 : QUENCH_IMAGE_RGB8;
    pixels.width = info.width;
    pixels.height = info.height;
    pixels.row_bytes = (size_t)info.width * (size_t)pixels.format;
    pixels.data = malloc(pixels.row_bytes * pixels.height);
    if (!pixels.data) {
      fprintf(stderr, "%s: there is no memory for %u x %u pixels\n", argv[2], (unsigned)info.width,
              (unsigned)info.height);
    } else if (quench_image_decode(codec, file, file_size, &pixels, &status)) {
      fprintf(stderr, "%s: %s\n", argv[2], status.message);
    } else if (!write_picture(argv[3], &pixels)) {
      fprintf(stderr, "%s: cannot be written\n", argv[3]);
    } else {
      done = 1;
    }
  }
  free(pixels.data);
  quench_image_codec_release(codec);
  free(file);
  free(decoder);
  return done ? 0 : 1;
}
