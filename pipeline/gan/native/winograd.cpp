// 3x3 convolution by Winograd's minimal filtering, with 2x up- or downsampling folded into the kernel: layout.h says how.
// No result depends on the number of threads.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>

#include "layout.h"
#include "memory.h"
#include "winograd.h"

namespace {

using at::Tensor;
using memory::Buffer;
using namespace winograd;

// Measured on a processor with 512 KiB of second-level cache a core; half or twice as much changes little.
constexpr int64_t kScratch = 128 << 10;  // bytes of transformed input that a core works on
constexpr int64_t kColumns = 128;        // columns of the product that are transformed back together

// [positions][outer / panel][inner][panel] from [phases][3][3][in][out]
template <typename T>
void transform_weights(const Layout& l, const T* w, T* u) {
  using S = Simd<T>;
  using V = typename S::Vec;
  const int64_t inner = l.inner(), pitch = inner * l.outer();
  at::parallel_for(0, l.xp * l.yp * l.in, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t phase = row / l.in, i = row % l.in;
      const int64_t k = l.xp == 4 ? row : i, first = l.yp == 4 ? phase * l.out : 0;
      const T* from = w + (phase * 9 * l.in + i) * l.out;
      for (int64_t o = 0; o < l.out; o += S::lanes) {
        const int64_t column = first + o;
        T* to = u + (column / S::panel * inner + k) * S::panel + column % S::panel;
        V t[6][3];
        for (int b = 0; b < 3; ++b) {
          V d[3], six[6];
          for (int a = 0; a < 3; ++a) d[a] = S::load(from + (a * 3 + b) * l.in * l.out + o);
          weight_1d<T, V>(d, six);
          for (int r = 0; r < 6; ++r) t[r][b] = six[r];
        }
        for (int r = 0; r < 6; ++r) {
          V six[6];
          weight_1d<T, V>(t[r], six);
          for (int s = 0; s < 6; ++s) S::store(to + (r * 6 + s) * pitch, six[s]);
        }
      }
    }
  });
}

// What happens to a result before it is written: y = clamp(leaky_relu(y * scale + noise + bias)).
template <typename T>
struct Epilogue {
  const T* scale;  // [N, out] or null
  const T* noise;  // [H, W], or [N, H, W] where noise_step is not 0, or null
  int64_t noise_step;
  const T* bias;  // [out] or null
  T slope, limit;
};

template <typename T>
void write_tile(
    const Layout& l, const Place& at, int64_t column, typename Simd<T>::Vec y[4][4], const Epilogue<T>& e, T* out) {
  using S = Simd<T>;
  using V = typename S::Vec;
  const int64_t phase = column / l.out, channel = column % l.out;
  const auto to = plane(out, l, l.yp, l.out, at.image, phase);
  const V one = T(1) + V{};
  const V scale = e.scale ? S::load(e.scale + at.image * l.out + channel) : one;
  const V bias = e.bias ? S::load(e.bias + channel) : V{};
  Plane<const T*> noise{};
  if (e.noise) noise = plane(e.noise + at.image * e.noise_step, l, l.yp, 1, 0, phase);
  for (int64_t r = 0; r < std::min<int64_t>(kTile, l.rows - at.top); ++r) {
    for (int64_t s = 0; s < std::min<int64_t>(kTile, l.cols - at.left); ++s) {
      V v = y[r][s] * scale + bias;
      if (e.noise) v += noise.base[(at.top + r) * noise.step_y + (at.left + s) * noise.step_x];
      v = v < 0 ? v * e.slope : v;
      v = v > e.limit ? e.limit + V{} : v;
      v = v < -e.limit ? V{} - e.limit : v;
      S::store(to.base + (at.top + r) * to.step_y + (at.left + s) * to.step_x + channel, v);
    }
  }
}

// x, times in_scale [N, in] unless that is null, with the transformed weights u.
template <typename T>
void convolve(const Layout& l, const T* x, const T* in_scale, const T* u, const Epilogue<T>& e, T* y) {
  using S = Simd<T>;
  using V = typename S::Vec;
  const int64_t inner = l.inner(), outer = l.outer();
  const int64_t fitting = kScratch / (kPositions * inner * static_cast<int64_t>(sizeof(T))) / 6 * 6;
  const int64_t block = std::clamp<int64_t>(fitting, 12, 96), columns = std::min(kColumns, outer);
  const int64_t pad = 64 / sizeof(T);  // keeps the 36 positions off the same cache lines
  const int64_t v_pitch = block * inner + pad, m_pitch = block * columns + pad;
  const int64_t tiles = l.tiles(), blocks = (tiles + block - 1) / block;
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    Buffer<T> v(kPositions * v_pitch), m(kPositions * m_pitch);
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * block, count = std::min(block, tiles - first), rows = (count + 5) / 6 * 6;
      for (int64_t t = 0; t < count; ++t) {
        const Place at = place(l, first + t);
        for (int64_t phase = 0; phase < l.xp; ++phase) {
          auto from = plane(x, l, l.xp, l.in, at.image, phase);
          for (int64_t i = 0; i < l.in; i += S::lanes, from.base += S::lanes) {
            const V factor = in_scale ? S::load(in_scale + at.image * l.in + i) : T(1) + V{};
            T* to = v.get() + t * inner + phase * l.in + i;
            input_tile<T>(from, at.top - 1, at.left - 1, factor, to, v_pitch);
          }
        }
      }
      for (int64_t column = 0; column < outer; column += columns) {
        const int64_t width = std::min(columns, outer - column);
        for (int p = 0; p < kPositions; ++p) {
          for (int64_t c = 0; c < width; c += S::panel) {
            const T* panel = u + p * inner * outer + (column + c) * inner;
            for (int64_t t = 0; t < rows; t += 6) {
              multiply<T, 6>(
                  v.get() + p * v_pitch + t * inner, inner, panel, inner, m.get() + p * m_pitch + t * columns + c,
                  columns);
            }
          }
        }
        for (int64_t t = 0; t < count; ++t) {
          const Place at = place(l, first + t);
          for (int64_t c = 0; c < width; c += S::lanes) {
            V result[4][4];
            output_tile<T>(m.get() + t * columns + c, m_pitch, result);
            write_tile<T>(l, at, column + c, result, e, y);
          }
        }
      }
    }
  });
}

template <typename T>
const T* data(const std::optional<Tensor>& t, const Tensor& like) {
  if (!t) return nullptr;
  TORCH_CHECK(t->scalar_type() == like.scalar_type() && t->is_contiguous(), "factors must be contiguous, of x's type");
  return t->const_data_ptr<T>();
}

void check_kernels(const Tensor& w, int64_t xp, int64_t yp) {
  TORCH_CHECK(w.dim() == 5 && w.size(0) == xp * yp && w.is_contiguous(), "w must be [phases, 3, 3, in, out]");
}

Tensor conv(
    const Tensor& x, const Tensor& w, int64_t xp, int64_t yp, const std::optional<Tensor>& in_scale,
    const std::optional<Tensor>& scale, const std::optional<Tensor>& noise, const std::optional<Tensor>& bias,
    double slope, double limit) {
  check_kernels(w, xp, yp);
  const Layout l = layout(x, w.size(3), w.size(4), xp, yp);
  check_memory(x, w);
  const int64_t finer = l.yp == 4 ? 2 : 1;
  Tensor y = memory::images({l.images, l.out, finer * l.rows, finer * l.cols}, x);
  const int64_t pixels = y.size(2) * y.size(3);
  TORCH_CHECK(!in_scale || in_scale->numel() == l.images * l.in, "in_scale must be [N, in]");
  TORCH_CHECK(!scale || scale->numel() == l.images * l.out, "scale must be [N, out]");
  TORCH_CHECK(!bias || bias->numel() == l.out, "bias must be [out]");
  TORCH_CHECK(
      !noise || noise->numel() == pixels || noise->numel() == l.images * pixels, "noise must be [H, W] or [N, 1, H, W]");
  const int64_t noise_step = noise && l.images > 1 && noise->numel() != pixels ? pixels : 0;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "atlas_native::conv", [&] {
    check_channels<scalar_t>(l);
    const Epilogue<scalar_t> e{
        data<scalar_t>(scale, x), data<scalar_t>(noise, x), noise_step, data<scalar_t>(bias, x),
        static_cast<scalar_t>(slope), static_cast<scalar_t>(limit)};
    const Buffer<scalar_t> u(kPositions * l.inner() * l.outer(), false);
    transform_weights<scalar_t>(l, w.const_data_ptr<scalar_t>(), u.get());
    convolve<scalar_t>(
        l, x.const_data_ptr<scalar_t>(), data<scalar_t>(in_scale, x), u.get(), e, y.mutable_data_ptr<scalar_t>());
  });
  return y;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(atlas_native, m) {
  m.def(
      "conv(Tensor x, Tensor w, int xp, int yp, Tensor? in_scale, Tensor? scale, Tensor? noise, Tensor? bias, "
      "float slope, float limit) -> Tensor");
}

TORCH_LIBRARY_IMPL(atlas_native, CPU, m) {
  m.impl("conv", conv);
}
