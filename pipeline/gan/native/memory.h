// Memory for results, and for what a core works on.

#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace memory {

constexpr int64_t kHuge = 2 << 20, kWorthwhile = 4 << 20;  // bytes

// A large tensor that nothing has touched yet is backed page by page as it is written, which takes a fifth of the time
// of rendering a batch. Ask for huge pages, where the system gives them to those who ask.
inline at::Tensor images(at::IntArrayRef sizes, const at::Tensor& like) {
  at::Tensor t = at::empty(sizes, like.options(), at::MemoryFormat::ChannelsLast);
#ifdef MADV_HUGEPAGE
  const int64_t bytes = t.numel() * t.element_size();
  if (bytes >= kWorthwhile) {
    const auto begin = reinterpret_cast<uintptr_t>(t.data_ptr()), first = (begin + kHuge - 1) / kHuge * kHuge;
    const auto last = (begin + bytes) / kHuge * kHuge;
    if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);  // a wish: may be refused
  }
#endif
  return t;
}

// An array that begins on a cache line, of zeros unless it is said that all of it will be written first.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t count, bool zeros = true)
      : data_(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64))) {
    TORCH_CHECK(data_, "out of memory");
    if (zeros) std::memset(data_.get(), 0, count * sizeof(T));
  }
  T* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
};

}  // namespace memory
