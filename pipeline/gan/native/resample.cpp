// FIR resampling of images, on processors: insert zeros, pad, correlate with a filter, keep every down-th sample.
//
//     y[o] = sum over taps k of f[k] * x[(o * down + k - pad) / up]     along both axes, where the division is exact
//
// The adjoint is of the same form, with up and down exchanged, the filter turned round and pad' = taps - 1 - pad.
// Images are [N, C, H, W] in channels-last memory.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <vector>

#include "memory.h"
#include "winograd.h"

namespace {

using at::Tensor;
using winograd::Simd;

struct Tap {
  int64_t source, tap;  // index of the sample, and of the tap that it meets
};

// For each output sample of one axis, the taps that meet a sample.
std::vector<std::vector<Tap>> meetings(int64_t out, int64_t in, int64_t taps, int64_t up, int64_t down, int64_t pad) {
  std::vector<std::vector<Tap>> found(out);
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t k = 0; k < taps; ++k) {
      const int64_t place = o * down + k - pad;
      if (place >= 0 && place % up == 0 && place / up < in) found[o].push_back({place / up, k});
    }
  }
  return found;
}

template <typename T>
struct Weighted {
  const T* pixel;
  T weight;
};

// The weighted sum of pixels, GROUP vectors of channels at a time so that additions do not wait for each other.
template <typename T, int GROUP>
inline int64_t add_up(const std::vector<Weighted<T>>& taps, int64_t c, int64_t channels, T* to) {
  using S = Simd<T>;
  for (; c + GROUP * S::lanes <= channels; c += GROUP * S::lanes) {
    typename S::Vec sum[GROUP] = {};
    for (const Weighted<T>& tap : taps) {
      for (int g = 0; g < GROUP; ++g) sum[g] += tap.weight * S::load(tap.pixel + c + g * S::lanes);
    }
    for (int g = 0; g < GROUP; ++g) S::store(to + c + g * S::lanes, sum[g]);
  }
  return c;
}

Tensor resample(
    const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef pad,
    at::IntArrayRef size) {
  TORCH_CHECK(x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast), "x must be channels-last [N, C, H, W]");
  TORCH_CHECK(f.dim() == 2 && f.is_contiguous() && f.scalar_type() == x.scalar_type(), "f must be [h, w], as x is");
  TORCH_CHECK(up.size() == 2 && down.size() == 2 && pad.size() == 2 && size.size() == 2, "pairs must be [y, x]");
  const int64_t images = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  const auto rows = meetings(size[0], height, f.size(0), up[0], down[0], pad[0]);
  const auto columns = meetings(size[1], width, f.size(1), up[1], down[1], pad[1]);
  Tensor y = memory::images({images, channels, size[0], size[1]}, x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "atlas_native::resample", [&] {
    const scalar_t* from = x.const_data_ptr<scalar_t>();
    const scalar_t* filter = f.const_data_ptr<scalar_t>();
    scalar_t* to = y.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, images * size[0], 4, [&](int64_t begin, int64_t end) {
      std::vector<Weighted<scalar_t>> taps;
      for (int64_t line = begin; line < end; ++line) {
        const scalar_t* image = from + line / size[0] * height * width * channels;
        for (int64_t o = 0; o < size[1]; ++o) {
          taps.clear();
          for (const Tap& r : rows[line % size[0]]) {
            for (const Tap& s : columns[o]) {
              taps.push_back({image + (r.source * width + s.source) * channels, filter[r.tap * f.size(1) + s.tap]});
            }
          }
          scalar_t* pixel = to + (line * size[1] + o) * channels;
          int64_t c = add_up<scalar_t, 4>(taps, 0, channels, pixel);
          c = add_up<scalar_t, 1>(taps, c, channels, pixel);
          for (; c < channels; ++c) {
            scalar_t sum = 0;
            for (const auto& tap : taps) sum += tap.weight * tap.pixel[c];
            pixel[c] = sum;
          }
        }
      }
    });
  });
  return y;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(atlas_native, m) {
  m.def("resample(Tensor x, Tensor f, int[2] up, int[2] down, int[2] pad, int[2] size) -> Tensor");
}

TORCH_LIBRARY_IMPL(atlas_native, CPU, m) { m.impl("resample", resample); }
