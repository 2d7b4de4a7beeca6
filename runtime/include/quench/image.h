/* Images as .qim files, by a codec that is a pair of .quench files: an encoder and a decoder. A library of its own over
 * the runtime (libquench_image.a).
 *
 *     quench_status status = QUENCH_STATUS_INIT;
 *     quench_image_codec* codec = NULL;
 *     quench_image_info info;
 *     if (quench_image_read_info(file, file_size, &info, &status) ||
 *         quench_image_codec_open(NULL, 0, decoder, decoder_size, NULL, &codec, &status)) { ... }
 *     quench_image_pixels pixels = {malloc(info.width * info.height * 3), info.width, info.height,
 *                                   info.width * 3, QUENCH_IMAGE_RGB8};
 *     if (quench_image_decode(codec, file, file_size, &pixels, &status)) { ... }
 *     quench_image_codec_release(codec);
 *
 * Errors, memory and threads are as in quench.h. A codec belongs to one thread at a time. Files may come from anywhere: a
 * damaged or hostile one is an error, never a crash, and what it can cost is bounded by its width and height, which
 * quench_image_read_info tells before any memory is taken.
 */
#ifndef QUENCH_IMAGE_H
#define QUENCH_IMAGE_H

#include <quench/quench.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Samples of 8 bits, interleaved; the number is how many a pixel has. */
typedef enum quench_image_format {
  QUENCH_IMAGE_GREY8 = 1,
  QUENCH_IMAGE_RGB8 = 3,
  QUENCH_IMAGE_RGBA8 = 4 /* alpha is how opaque a pixel is, and not multiplied into the others */
} quench_image_format;

/* The caller's pixels, rows from the top. */
typedef struct quench_image_pixels {
  void* data;
  uint32_t width, height;
  size_t row_bytes; /* from one row to the next, at least width * format */
  quench_image_format format;
} quench_image_pixels;

/* What a .qim file says of its image. */
typedef struct quench_image_info {
  uint32_t width, height; /* 1 to 2^20 each, 2^28 together */
  float quality;
  int32_t has_alpha, is_grey; /* 0 or 1 */
  uint32_t codec;             /* which codec made it: quench_image_codec_identity */
  uint32_t channels, levels;  /* of that codec */
  uint64_t index_bytes;       /* of the file, for the picture */
  uint64_t alpha_bytes;       /* of the file, for alpha */
} quench_image_info;

/* Errors: QUENCH_BAD_MAGIC, QUENCH_UNSUPPORTED_VERSION, QUENCH_UNSUPPORTED_FEATURE, QUENCH_TRUNCATED, QUENCH_CORRUPT,
 * QUENCH_CHECKSUM. */
quench_code quench_image_read_info(const void* file, size_t size, quench_image_info* info, quench_status* status);

/* Zero in any field means the default. Set `size` to sizeof(quench_image_options). */
typedef struct quench_image_options {
  size_t size;
  quench_allocator allocator;
  uint64_t max_network_bytes; /* for what the networks compute on; a large image is taken in windows that fit. Default
                                     * 160 MiB, which holds 24 million pixels within 300 MB in all. */
  int32_t threads;            /* 1 to 256; default 1 */
  quench_parallel_for parallel_for; /* NULL: threads of the codec's own, if `threads` is above 1 */
  void* parallel_for_user;
  int (*cancelled)(void* user); /* as in quench_session_options */
  void* cancelled_user;
} quench_image_options;

typedef struct quench_image_codec quench_image_codec;

/* Opens a codec from the bytes of its .quench files, which are borrowed until it is released. Either may be NULL: a codec
 * without encoder only decodes, and the other way round. On an error *codec is NULL. */
quench_code quench_image_codec_open(const void* encoder, size_t encoder_size, const void* decoder, size_t decoder_size,
                                    const quench_image_options* options, quench_image_codec** codec,
                                    quench_status* status);
void quench_image_codec_release(quench_image_codec* codec); /* NULL is fine */

/* Tells codecs apart: a file is decoded by the codec that made it. */
uint32_t quench_image_codec_identity(const quench_image_codec* codec);
/* The highest quality; the lowest is 1, and any between has a meaning. */
float quench_image_codec_qualities(const quench_image_codec* codec);

/* Decodes a file into pixels->data; width and height must be the file's. RGB8 drops alpha; RGBA8 of an image without it is
 * opaque; GREY8 is for images that are grey. Errors: those of quench_image_read_info; QUENCH_INVALID_ARGUMENT (pixels that
 * do not fit); QUENCH_NOT_FOUND (another codec made the file); QUENCH_NOT_READY (the codec has no decoder);
 * QUENCH_OUT_OF_MEMORY, QUENCH_LIMIT, QUENCH_CANCELLED. After an error the pixels are unspecified. */
quench_code quench_image_decode(quench_image_codec* codec, const void* file, size_t size,
                                const quench_image_pixels* pixels, quench_status* status);

/* Encodes pixels into a file, which is given back to quench_image_free; `quality` from 1 to
 * quench_image_codec_qualities(), in steps of 1/256. Alpha is kept without loss, and costs nothing where all is opaque. On
 * an error *file is NULL. */
quench_code quench_image_encode(quench_image_codec* codec, const quench_image_pixels* pixels, float quality,
                                void** file, size_t* size, quench_status* status);
void quench_image_free(quench_image_codec* codec, void* file, size_t size); /* NULL is fine */

/* Most bytes that the codec has held at a time so far, its networks included. */
uint64_t quench_image_codec_peak_bytes(const quench_image_codec* codec);

#ifdef __cplusplus
}
#endif

#endif
