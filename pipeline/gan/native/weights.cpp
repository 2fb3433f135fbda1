// The gradient by the weights of the convolutions in winograd.cpp, by the adjoint of the same formula.
// No result depends on the number of threads.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>

#include "layout.h"
#include "memory.h"
#include "winograd.h"

namespace {

using at::Tensor;
using memory::Buffer;
using namespace winograd;

constexpr int64_t kChunk = 48;        // tiles between two additions to the gradient
constexpr int64_t kBlock = 64;        // its rows and columns that are summed together
constexpr int64_t kParts = 8;         // sums over tiles that are made side by side, at most
constexpr int64_t kLeastTiles = 128;  // of such a part

// The gradient by the weights in pieces: tiles in parts, whose sums are added up at the end in their order, and the
// matrix [inner, outer] in blocks. How many there are depends on the shapes alone, so that no result depends on threads.
struct Pieces {
  int64_t rows, columns;  // of a block
  int64_t down, across;   // blocks
  int64_t parts, share;   // of the tiles, and how many tiles a part has

  explicit Pieces(const Layout& l) {
    rows = std::min(kBlock, l.inner()), columns = std::min(kBlock, l.outer());
    down = (l.inner() + rows - 1) / rows, across = (l.outer() + columns - 1) / columns;
    const int64_t wanted = std::min(kParts, (l.tiles() + kLeastTiles - 1) / kLeastTiles);
    share = (l.tiles() + wanted - 1) / wanted, parts = (l.tiles() + share - 1) / share;
  }
  int64_t blocks() const { return down * across; }
  int64_t pitch() const { return rows * columns + 16; }  // keeps the 36 positions off the same cache lines
  int64_t size() const { return kPositions * pitch(); }  // of the sums of a block
};

// [phases][3][3][in][out] from the sums over tiles [parts][blocks][positions][rows][columns]
template <typename T>
void untransform_weights(const Layout& l, const Pieces& pieces, const T* u, T* w) {
  using S = Simd<T>;
  using V = typename S::Vec;
  const int64_t pitch = pieces.pitch(), step = pieces.blocks() * pieces.size();
  at::parallel_for(0, l.xp * l.yp * l.in, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t phase = row / l.in, i = row % l.in;
      const int64_t k = l.xp == 4 ? row : i, first = l.yp == 4 ? phase * l.out : 0;
      T* to = w + (phase * 9 * l.in + i) * l.out;
      for (int64_t o = 0; o < l.out; o += S::lanes) {
        const int64_t column = first + o, block = k / pieces.rows * pieces.across + column / pieces.columns;
        const T* from = u + block * pieces.size() + k % pieces.rows * pieces.columns + column % pieces.columns;
        V t[3][6];
        for (int s = 0; s < 6; ++s) {
          V six[6], three[3];
          for (int r = 0; r < 6; ++r) {
            six[r] = S::load(from + (r * 6 + s) * pitch);
            for (int64_t p = 1; p < pieces.parts; ++p) six[r] += S::load(from + (r * 6 + s) * pitch + p * step);
          }
          weight_adjoint_1d<T, V>(six, three);
          for (int a = 0; a < 3; ++a) t[a][s] = three[a];
        }
        for (int a = 0; a < 3; ++a) {
          V three[3];
          weight_adjoint_1d<T, V>(t[a], three);
          for (int b = 0; b < 3; ++b) S::store(to + (a * 3 + b) * l.in * l.out + o, three[b]);
        }
      }
    }
  });
}

// u[rows][columns] = or += v[count][rows]' z[count][columns]; rows and columns are multiples of a panel, rows of u lie
// ldu apart.
template <typename T>
void multiply_block(
    int64_t rows, int64_t columns, const T* v, const T* z, int64_t count, bool add, T* u, int64_t ldu) {
  for (int64_t c = 0; c < columns; c += Simd<T>::panel) {
    int64_t r = 0;
    for (; r + 6 <= rows; r += 6) {
      multiply_transposed<T, 6>(v + r, rows, z + c, columns, count, add, u + r * ldu + c, ldu);
    }
    for (; r + 4 <= rows; r += 4) {
      multiply_transposed<T, 4>(v + r, rows, z + c, columns, count, add, u + r * ldu + c, ldu);
    }
    for (; r < rows; r += 2) {
      multiply_transposed<T, 2>(v + r, rows, z + c, columns, count, add, u + r * ldu + c, ldu);
    }
  }
}

template <typename T>
void gradient(const Layout& l, const T* x, const T* y, T* w) {
  using S = Simd<T>;
  const Pieces pieces(l);
  const int64_t pad = 64 / sizeof(T), v_pitch = kChunk * pieces.rows + pad, z_pitch = kChunk * pieces.columns + pad;
  const Buffer<T> sums(pieces.parts * pieces.blocks() * pieces.size(), false);
  const typename S::Vec one = T(1) + typename S::Vec{};
  at::parallel_for(0, pieces.parts * pieces.blocks(), 1, [&](int64_t begin, int64_t end) {
    Buffer<T> v(kPositions * v_pitch, false), z(kPositions * z_pitch, false);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t part = task / pieces.blocks(), block = task % pieces.blocks();
      const int64_t k = block / pieces.across * pieces.rows, column = block % pieces.across * pieces.columns;
      const int64_t rows = std::min(pieces.rows, l.inner() - k), columns = std::min(pieces.columns, l.outer() - column);
      const int64_t start = part * pieces.share, stop = std::min(start + pieces.share, l.tiles());
      T* u = sums.get() + task * pieces.size();
      for (int64_t first = start; first < stop; first += kChunk) {
        const int64_t count = std::min(kChunk, stop - first);
        for (int64_t t = 0; t < count; ++t) {
          const Place at = place(l, first + t);
          for (int64_t i = 0; i < rows; i += S::lanes) {
            auto from = plane(x, l, l.xp, l.in, at.image, (k + i) / l.in);
            from.base += (k + i) % l.in;
            input_tile<T>(from, at.top - 1, at.left - 1, one, v.get() + t * rows + i, v_pitch);
          }
          for (int64_t o = 0; o < columns; o += S::lanes) {
            auto from = plane(y, l, l.yp, l.out, at.image, (column + o) / l.out);
            from.base += (column + o) % l.out;
            output_adjoint_tile<T>(from, at.top, at.left, z.get() + t * columns + o, z_pitch);
          }
        }
        for (int p = 0; p < kPositions; ++p) {
          multiply_block<T>(
              rows, columns, v.get() + p * v_pitch, z.get() + p * z_pitch, count, first > start, u + p * pieces.pitch(),
              pieces.columns);
        }
      }
    }
  });
  untransform_weights(l, pieces, sums.get(), w);
}

Tensor conv_weight(const Tensor& x, const Tensor& y, int64_t xp, int64_t yp) {
  const Layout l = layout(x, x.size(1), y.size(1), xp, yp);
  check_memory(x, y);
  check_memory(y, x);
  const int64_t factor = yp == 4 ? 2 : 1;
  TORCH_CHECK(
      y.size(0) == l.images && y.size(2) == factor * l.rows && y.size(3) == factor * l.cols, "x and y must fit");
  Tensor w = at::empty({xp * yp, 3, 3, l.in, l.out}, x.options().memory_format(std::nullopt));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "atlas_native::conv_weight", [&] {
    check_channels<scalar_t>(l);
    gradient<scalar_t>(l, x.const_data_ptr<scalar_t>(), y.const_data_ptr<scalar_t>(), w.mutable_data_ptr<scalar_t>());
  });
  return w;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(atlas_native, m) {
  m.def("conv_weight(Tensor x, Tensor y, int xp, int yp) -> Tensor");
}

TORCH_LIBRARY_IMPL(atlas_native, CPU, m) {
  m.impl("conv_weight", conv_weight);
}
