// FIR resampling, and what follows a convolution, on NVIDIA GPUs: see resample.cpp and activation.cpp for what they do.
//
// One thread makes one value. Tensors are [N, C, H, W] in contiguous or channels-last memory, which the result shares;
// half precision is added up in float. Sums over pixels are left to PyTorch.

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

namespace {

using at::Tensor;

constexpr int kThreads = 256;

struct Image {
  int64_t channels, height, width;
  int64_t step_n, step_c, step_y, step_x;  // in elements
};

struct Axis {
  int64_t taps, up, down, pad;
};

int64_t blocks(int64_t count) { return (count + kThreads - 1) / kThreads; }

at::MemoryFormat layout(const Tensor& x) {
  TORCH_CHECK(x.is_cuda() && x.dim() == 4, "tensors must be [N, C, H, W], on the GPU");
  if (x.is_contiguous()) return at::MemoryFormat::Contiguous;
  TORCH_CHECK(x.is_contiguous(at::MemoryFormat::ChannelsLast), "tensors must be contiguous or channels-last");
  return at::MemoryFormat::ChannelsLast;
}

Image image(const Tensor& x) {
  return {x.size(1), x.size(2), x.size(3), x.stride(0), x.stride(1), x.stride(2), x.stride(3)};
}

template <typename T, typename Sum>
__global__ void resample_kernel(
    const T* x, const Sum* f, T* y, Image in, Image out, Axis vertical, Axis horizontal, bool channels_last,
    int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  int64_t rest = i, c, ox, oy;
  if (channels_last) {
    c = rest % out.channels, rest /= out.channels;
    ox = rest % out.width, rest /= out.width;
    oy = rest % out.height, rest /= out.height;
  } else {
    ox = rest % out.width, rest /= out.width;
    oy = rest % out.height, rest /= out.height;
    c = rest % out.channels, rest /= out.channels;
  }
  const T* from = x + rest * in.step_n + c * in.step_c;
  Sum sum = 0;
  for (int64_t r = 0; r < vertical.taps; ++r) {
    const int64_t py = oy * vertical.down + r - vertical.pad;
    if (py < 0 || py % vertical.up || py / vertical.up >= in.height) continue;
    for (int64_t s = 0; s < horizontal.taps; ++s) {
      const int64_t px = ox * horizontal.down + s - horizontal.pad;
      if (px < 0 || px % horizontal.up || px / horizontal.up >= in.width) continue;
      sum += f[r * horizontal.taps + s] *
          static_cast<Sum>(from[py / vertical.up * in.step_y + px / horizontal.up * in.step_x]);
    }
  }
  y[rest * out.step_n + c * out.step_c + oy * out.step_y + ox * out.step_x] = static_cast<T>(sum);
}

Tensor resample(
    const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef pad,
    at::IntArrayRef size) {
  const c10::cuda::CUDAGuard guard(x.device());
  const at::MemoryFormat memory = layout(x);
  TORCH_CHECK(f.is_cuda() && f.dim() == 2 && f.is_contiguous(), "f must be [h, w], on the GPU");
  TORCH_CHECK(up.size() == 2 && down.size() == 2 && pad.size() == 2 && size.size() == 2, "pairs must be [y, x]");
  Tensor y = at::empty({x.size(0), x.size(1), size[0], size[1]}, x.options(), memory);
  const int64_t count = y.numel();
  if (count == 0) return y;
  const Axis vertical{f.size(0), up[0], down[0], pad[0]}, horizontal{f.size(1), up[1], down[1], pad[1]};
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, x.scalar_type(), "atlas_native::resample", [&] {
    using Sum = at::opmath_type<scalar_t>;
    const Tensor taps = f.to(c10::CppTypeToScalarType<Sum>::value);
    resample_kernel<scalar_t, Sum><<<blocks(count), kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(
        x.const_data_ptr<scalar_t>(), taps.const_data_ptr<Sum>(), y.mutable_data_ptr<scalar_t>(), image(x), image(y),
        vertical, horizontal, memory == at::MemoryFormat::ChannelsLast, count);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  return y;
}

// Which sample, channel and pixel an element of a dense tensor is.
__device__ void place(int64_t i, bool channels_last, int64_t channels, int64_t pixels, int64_t* n, int64_t* c, int64_t* p) {
  if (channels_last) {
    *c = i % channels;
    *p = i / channels % pixels;
  } else {
    *p = i % pixels;
    *c = i / pixels % channels;
  }
  *n = i / (channels * pixels);
}

template <typename T, typename Sum>
__global__ void activate_kernel(
    const T* x, const T* scale, const T* noise, const T* bias, T* y, bool channels_last, int64_t channels,
    int64_t pixels, int64_t noise_step, Sum slope, Sum limit, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  int64_t n, c, p;
  place(i, channels_last, channels, pixels, &n, &c, &p);
  Sum v = static_cast<Sum>(x[i]);
  if (scale) v *= static_cast<Sum>(scale[n * channels + c]);
  if (noise) v += static_cast<Sum>(noise[n * noise_step + p]);
  if (bias) v += static_cast<Sum>(bias[c]);
  v = v > 0 ? v : v * slope;
  v = v > limit ? limit : v;
  y[i] = static_cast<T>(v < -limit ? -limit : v);
}

template <typename T, typename Sum>
__global__ void activate_backward_kernel(
    const T* dy, const T* y, const T* scale, T* dx, bool channels_last, int64_t channels, int64_t pixels, Sum slope,
    Sum limit, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  int64_t n, c, p;
  place(i, channels_last, channels, pixels, &n, &c, &p);
  const Sum result = static_cast<Sum>(y[i]);
  Sum g = static_cast<Sum>(dy[i]);
  g = result > 0 ? g : g * slope;
  g = result < limit && result > -limit ? g : Sum(0);
  if (scale) g *= static_cast<Sum>(scale[n * channels + c]);
  dx[i] = static_cast<T>(g);
}

template <typename T>
const T* factor(const std::optional<Tensor>& t, const Tensor& like, int64_t count, int64_t other_count) {
  if (!t) return nullptr;
  TORCH_CHECK(t->is_cuda() && t->is_contiguous() && t->scalar_type() == like.scalar_type(), "factors must be as x is");
  TORCH_CHECK(t->numel() == count || t->numel() == other_count, "a factor has the wrong size");
  return t->const_data_ptr<T>();
}

Tensor activate(
    const Tensor& x, const std::optional<Tensor>& scale, const std::optional<Tensor>& noise,
    const std::optional<Tensor>& bias, double slope, double limit) {
  const c10::cuda::CUDAGuard guard(x.device());
  const bool channels_last = layout(x) == at::MemoryFormat::ChannelsLast;
  Tensor y = at::empty_like(x);
  const int64_t count = x.numel(), images = x.size(0), channels = x.size(1), pixels = x.size(2) * x.size(3);
  if (count == 0) return y;
  const int64_t step = noise && noise->numel() == images * pixels ? pixels : 0;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, x.scalar_type(), "atlas_native::activate", [&] {
    using Sum = at::opmath_type<scalar_t>;
    activate_kernel<scalar_t, Sum><<<blocks(count), kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(
        x.const_data_ptr<scalar_t>(), factor<scalar_t>(scale, x, images * channels, -1),
        factor<scalar_t>(noise, x, images * pixels, pixels), factor<scalar_t>(bias, x, channels, -1),
        y.mutable_data_ptr<scalar_t>(), channels_last, channels, pixels, step, static_cast<Sum>(slope),
        static_cast<Sum>(limit), count);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  return y;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> activate_backward(
    const Tensor& dy, const Tensor& y, const std::optional<Tensor>& x, const std::optional<Tensor>& scale,
    double slope, double limit, bool need_scale, bool need_noise, bool need_bias) {
  TORCH_CHECK(!need_scale && !need_noise && !need_bias, "sums over pixels are not made here");
  const c10::cuda::CUDAGuard guard(y.device());
  TORCH_CHECK(dy.sizes() == y.sizes() && layout(dy) == layout(y), "dy and y must be of one shape and layout");
  Tensor dx = at::empty_like(y);
  const int64_t count = y.numel(), channels = y.size(1), pixels = y.size(2) * y.size(3);
  if (count) {
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, y.scalar_type(), "atlas_native::activate_backward", [&] {
      using Sum = at::opmath_type<scalar_t>;
      activate_backward_kernel<scalar_t, Sum><<<blocks(count), kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(
          dy.const_data_ptr<scalar_t>(), y.const_data_ptr<scalar_t>(),
          factor<scalar_t>(scale, y, y.size(0) * channels, -1), dx.mutable_data_ptr<scalar_t>(),
          layout(y) == at::MemoryFormat::ChannelsLast, channels, pixels, static_cast<Sum>(slope),
          static_cast<Sum>(limit), count);
      C10_CUDA_KERNEL_LAUNCH_CHECK();
    });
  }
  const Tensor none = at::empty({0}, y.options().memory_format(std::nullopt));
  return {dx, none, none, none};
}

}  // namespace

TORCH_LIBRARY_IMPL(atlas_native, CUDA, m) {
  m.impl("resample", resample);
  m.impl("activate", activate);
  m.impl("activate_backward", activate_backward);
}
