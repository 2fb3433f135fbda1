// What follows a convolution, in one pass over memory: y = clamp(leaky_relu(x * scale + noise + bias)), and its
// derivative. Tensors are [N, C, H, W] in channels-last memory, C a multiple of a vector's width.
//
// Sums over pixels are made of partial sums over strips of fixed length, so that they do not depend on the number of
// threads.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "memory.h"
#include "winograd.h"

namespace {

using at::Tensor;
using winograd::Simd;

constexpr int64_t kStrip = 1024;  // pixels whose sums are kept together

struct Shape {
  int64_t images, channels, pixels;

  int64_t strips() const { return (pixels + kStrip - 1) / kStrip; }
};

template <typename T>
Shape shape(const Tensor& x) {
  TORCH_CHECK(x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast), "x must be channels-last [N, C, H, W]");
  TORCH_CHECK(x.size(1) % Simd<T>::lanes == 0, "channels must be a multiple of a vector's width");
  return {x.size(0), x.size(1), x.size(2) * x.size(3)};
}

template <typename T>
const T* factor(const std::optional<Tensor>& t, const Tensor& like, int64_t count, int64_t other_count) {
  if (!t) return nullptr;
  TORCH_CHECK(t->scalar_type() == like.scalar_type() && t->is_contiguous(), "factors must be contiguous, of x's type");
  TORCH_CHECK(t->numel() == count || t->numel() == other_count, "a factor has the wrong size");
  return t->const_data_ptr<T>();
}

// Calls work(image, first pixel, last pixel, strip) for every strip of every image.
template <typename F>
void for_strips(const Shape& s, F work) {
  const int64_t strips = s.strips();
  at::parallel_for(0, s.images * strips, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % strips * kStrip;
      work(i / strips, first, std::min(first + kStrip, s.pixels), i);
    }
  });
}

template <typename T>
void forward(
    const Shape& s, const T* x, const T* scale, const T* noise, int64_t noise_step, const T* bias, T slope, T limit,
    T* y) {
  using S = Simd<T>;
  using V = typename S::Vec;
  for_strips(s, [&](int64_t n, int64_t first, int64_t last, int64_t) {
    for (int64_t p = first; p < last; ++p) {
      const int64_t row = (n * s.pixels + p) * s.channels;
      const T shift = noise ? noise[n * noise_step + p] : T(0);
      for (int64_t c = 0; c < s.channels; c += S::lanes) {
        V v = S::load(x + row + c);
        if (scale) v *= S::load(scale + n * s.channels + c);
        if (bias) v += S::load(bias + c);
        v += shift;
        v = v > 0 ? v : v * slope;
        v = v > limit ? limit + V{} : v;
        v = v < -limit ? V{} - limit : v;
        S::store(y + row + c, v);
      }
    }
  });
}

// g = dy where y > 0, dy * slope elsewhere, 0 beyond the limit; then dx = g * scale and the sums of g and g * x.
template <typename T>
void backward(
    const Shape& s, const T* dy, const T* y, const T* x, const T* scale, T slope, T limit, T* dx, T* dscale,
    T* dnoise, T* dbias) {
  using S = Simd<T>;
  using V = typename S::Vec;
  for_strips(s, [&](int64_t n, int64_t first, int64_t last, int64_t strip) {
    T* sum = dbias ? dbias + strip * s.channels : nullptr;
    T* product = dscale ? dscale + strip * s.channels : nullptr;
    if (sum) std::fill_n(sum, s.channels, T(0));
    if (product) std::fill_n(product, s.channels, T(0));
    for (int64_t p = first; p < last; ++p) {
      const int64_t row = (n * s.pixels + p) * s.channels;
      V over_channels{};
      for (int64_t c = 0; c < s.channels; c += S::lanes) {
        const V result = S::load(y + row + c), given = S::load(dy + row + c);
        V g = result > 0 ? given : given * slope;
        g = (result < limit) & (result > -limit) ? g : V{};
        over_channels += g;
        if (sum) S::store(sum + c, S::load(sum + c) + g);
        if (product) S::store(product + c, S::load(product + c) + g * S::load(x + row + c));
        S::store(dx + row + c, scale ? g * S::load(scale + n * s.channels + c) : g);
      }
      if (dnoise) {
        T total = 0;
        for (int i = 0; i < S::lanes; ++i) total += over_channels[i];
        dnoise[n * s.pixels + p] = total;
      }
    }
  });
}

Tensor activate(
    const Tensor& x, const std::optional<Tensor>& scale, const std::optional<Tensor>& noise,
    const std::optional<Tensor>& bias, double slope, double limit) {
  Tensor y = memory::images(x.sizes(), x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "atlas_native::activate", [&] {
    const Shape s = shape<scalar_t>(x);
    const int64_t all = s.images * s.pixels, step = noise && noise->numel() == all ? s.pixels : 0;
    forward<scalar_t>(
        s, x.const_data_ptr<scalar_t>(), factor<scalar_t>(scale, x, s.images * s.channels, -1),
        factor<scalar_t>(noise, x, all, s.pixels), step, factor<scalar_t>(bias, x, s.channels, -1),
        static_cast<scalar_t>(slope), static_cast<scalar_t>(limit), y.mutable_data_ptr<scalar_t>());
  });
  return y;
}

// Returns dx [N, C, H, W], and the gradients that were asked for (others empty): of scale and bias [N, strips, C],
// which are to be summed over strips (and, for the bias, samples), of noise [N, 1, H, W].
std::tuple<Tensor, Tensor, Tensor, Tensor> activate_backward(
    const Tensor& dy, const Tensor& y, const std::optional<Tensor>& x, const std::optional<Tensor>& scale,
    double slope, double limit, bool need_scale, bool need_noise, bool need_bias) {
  TORCH_CHECK(dy.sizes() == y.sizes() && (!x || x->sizes() == y.sizes()), "tensors must be of one shape");
  TORCH_CHECK(!need_scale || x, "the gradient of the scale needs x");
  const auto options = y.options().memory_format(std::nullopt);
  Tensor dx = memory::images(y.sizes(), y), dscale = at::empty({0}, options), dnoise = dscale, dbias = dscale;
  AT_DISPATCH_FLOATING_TYPES(y.scalar_type(), "atlas_native::activate_backward", [&] {
    const Shape s = shape<scalar_t>(y);
    shape<scalar_t>(dy);
    if (x) shape<scalar_t>(*x);
    if (need_scale) dscale = at::empty({s.images, s.strips(), s.channels}, options);
    if (need_bias) dbias = at::empty({s.images, s.strips(), s.channels}, options);
    if (need_noise) dnoise = at::empty({s.images, 1, y.size(2), y.size(3)}, options);
    backward<scalar_t>(
        s, dy.const_data_ptr<scalar_t>(), y.const_data_ptr<scalar_t>(), x ? x->const_data_ptr<scalar_t>() : nullptr,
        factor<scalar_t>(scale, y, s.images * s.channels, -1), static_cast<scalar_t>(slope),
        static_cast<scalar_t>(limit), dx.mutable_data_ptr<scalar_t>(),
        need_scale ? dscale.mutable_data_ptr<scalar_t>() : nullptr,
        need_noise ? dnoise.mutable_data_ptr<scalar_t>() : nullptr,
        need_bias ? dbias.mutable_data_ptr<scalar_t>() : nullptr);
  });
  return {dx, dscale, dnoise, dbias};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(atlas_native, m) {
  m.def("activate(Tensor x, Tensor? scale, Tensor? noise, Tensor? bias, float slope, float limit) -> Tensor");
  m.def(
      "activate_backward(Tensor dy, Tensor y, Tensor? x, Tensor? scale, float slope, float limit, bool need_scale, "
      "bool need_noise, bool need_bias) -> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(atlas_native, CPU, m) {
  m.impl("activate", activate);
  m.impl("activate_backward", activate_backward);
}
