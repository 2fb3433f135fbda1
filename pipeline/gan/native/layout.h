// How the images of 3x3 convolutions lie in memory, 2x up- or downsampling folded into the kernels, and their tiles.
//
// Three modes, by the number of phases of input (xp) and output (yp). A phase is every second pixel of every second
// row of a fine image; there are four, in the order (0, 0), (0, 1), (1, 0), (1, 1) of (row, column).
//   same: xp = yp = 1   y[o] = sum over i of x[i] * w[0][.][.][i][o]
//   down: xp = 4        a 6x6 kernel with stride 2 is, on the four phases of its input, four 3x3 kernels
//   up:   yp = 4        a transposed 6x6 kernel with stride 2 is a 3x3 kernel for each phase of its output
// Weights are [phases, 3, 3, in, out]. Padding is always "same". Tensors are [N, C, H, W] in channels-last memory.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "winograd.h"

namespace winograd {

struct Layout {
  int64_t images, rows, cols;  // of one phase
  int64_t in, out;             // channels
  int64_t xp, yp;              // phases

  int64_t down() const { return (rows + kTile - 1) / kTile; }
  int64_t across() const { return (cols + kTile - 1) / kTile; }
  int64_t tiles() const { return images * down() * across(); }
  int64_t inner() const { return xp * in; }
  int64_t outer() const { return yp * out; }
};

struct Place {
  int64_t image, top, left;
};

inline Place place(const Layout& l, int64_t tile) {
  const int64_t across = l.across(), per_image = l.down() * across;
  return {tile / per_image, tile % per_image / across * kTile, tile % across * kTile};
}

// The pixels of one phase of one image.
template <typename P>
Plane<P> plane(P data, const Layout& l, int64_t phases, int64_t channels, int64_t image, int64_t phase) {
  const int64_t factor = phases == 4 ? 2 : 1, row = factor * l.cols * channels;
  P base = data + image * phases * l.rows * l.cols * channels + phase / 2 * row + phase % 2 * channels;
  return {base, factor * row, factor * channels, l.rows, l.cols};
}

inline Layout layout(const at::Tensor& x, int64_t in, int64_t out, int64_t xp, int64_t yp) {
  TORCH_CHECK((xp == 1 || xp == 4) && (yp == 1 || yp == 4) && xp * yp <= 4, "phases must be 1 or 4, not 4 twice");
  TORCH_CHECK(x.dim() == 4 && x.size(1) == in, "x must be [N, in, H, W]");
  const int64_t factor = xp == 4 ? 2 : 1;
  TORCH_CHECK(x.size(2) % factor == 0 && x.size(3) % factor == 0, "a fine image must have even sides");
  return {x.size(0), x.size(2) / factor, x.size(3) / factor, in, out, xp, yp};
}

inline void check_memory(const at::Tensor& t, const at::Tensor& like) {
  TORCH_CHECK(t.scalar_type() == like.scalar_type() && t.device().is_cpu(), "tensors must be of one kind, on the CPU");
  TORCH_CHECK(t.is_contiguous(at::MemoryFormat::ChannelsLast), "images must be in channels-last memory");
}

template <typename T>
void check_channels(const Layout& l) {
  TORCH_CHECK(l.in % Simd<T>::panel == 0 && l.out % Simd<T>::panel == 0, "channels must be multiples of a panel");
}

}  // namespace winograd
