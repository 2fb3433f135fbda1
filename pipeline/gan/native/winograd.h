// Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016): sixteen outputs of a 3x3 correlation for 36
// multiplications in place of 144. With x a 6x6 tile, w a 3x3 kernel, y the 4x4 result:
//
//     y = A' [ (G w G') . (B' x B) ] A        (primes transpose, the dot multiplies element by element)
//
// Summed over input channels, each of the 36 positions is a matrix product [tiles, in] x [in, out]. The gradient by w
// is the adjoint of the same formula: G' [ (B' x B) . (A y A') ] G, summed over tiles.
//
// Everything here works on vectors of eight floats (four doubles) of neighbouring channels: images are [N, H, W, C].

#pragma once

#include <cstdint>
#include <cstring>

namespace winograd {

constexpr int kTile = 4, kWindow = 6, kPositions = kWindow * kWindow;

template <typename T>
struct Simd {
  typedef T Vec __attribute__((vector_size(32)));
  static constexpr int lanes = 32 / sizeof(T);
  static constexpr int panel = 2 * lanes;  // columns of a matrix product that are computed together

  static inline Vec load(const T* p) {
    Vec v;
    std::memcpy(&v, p, sizeof(Vec));
    return v;
  }
  static inline void store(T* p, Vec v) { std::memcpy(p, &v, sizeof(Vec)); }
};

// B' d, from six values to six.
template <typename V>
inline void input_1d(const V d[6], V t[6]) {
  const V a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
  t[0] = 4 * d[0] - 5 * d[2] + d[4];
  t[1] = a + b;
  t[2] = a - b;
  t[3] = c + e;
  t[4] = c - e;
  t[5] = 4 * d[1] - 5 * d[3] + d[5];
}

// A' m, from six values to four.
template <typename V>
inline void output_1d(const V m[6], V y[4]) {
  const V s1 = m[1] + m[2], d1 = m[1] - m[2], s2 = m[3] + m[4], d2 = m[3] - m[4];
  y[0] = m[0] + s1 + s2;
  y[1] = d1 + 2 * d2;
  y[2] = s1 + 4 * s2;
  y[3] = d1 + 8 * d2 + m[5];
}

// A y, from four values to six.
template <typename V>
inline void output_adjoint_1d(const V y[4], V z[6]) {
  const V e1 = y[0] + y[2], o1 = y[1] + y[3], e2 = y[0] + 4 * y[2], o2 = 2 * y[1] + 8 * y[3];
  z[0] = y[0];
  z[1] = e1 + o1;
  z[2] = e1 - o1;
  z[3] = e2 + o2;
  z[4] = e2 - o2;
  z[5] = y[3];
}

// G w, from three values to six.
template <typename T, typename V>
inline void weight_1d(const V w[3], V u[6]) {
  const V e = w[0] + w[2], f = (w[0] + 4 * w[2]) * T(1.0 / 24), h = w[1] * T(1.0 / 12);
  u[0] = w[0] * T(1.0 / 4);
  u[1] = (e + w[1]) * T(-1.0 / 6);
  u[2] = (e - w[1]) * T(-1.0 / 6);
  u[3] = f + h;
  u[4] = f - h;
  u[5] = w[2];
}

// G' u, from six values to three.
template <typename T, typename V>
inline void weight_adjoint_1d(const V u[6], V w[3]) {
  const V s1 = (u[1] + u[2]) * T(1.0 / 6), s2 = u[3] + u[4];
  w[0] = u[0] * T(1.0 / 4) - s1 + s2 * T(1.0 / 24);
  w[1] = (u[2] - u[1]) * T(1.0 / 6) + (u[3] - u[4]) * T(1.0 / 12);
  w[2] = s2 * T(1.0 / 6) - s1 + u[5];
}

// A plane of pixels seen with a stride: the whole of an image, or every second pixel of every second row of it.
template <typename P>
struct Plane {
  P base;
  int64_t step_y, step_x;  // between neighbours, in elements
  int64_t rows, cols;
};

// Transform one 6x6 tile of eight channels; outside the plane there are zeros. v[position * pitch] is written.
template <typename T>
inline void input_tile(
    const Plane<const T*>& x, int64_t top, int64_t left, typename Simd<T>::Vec scale, T* v, int64_t pitch) {
  using S = Simd<T>;
  using V = typename S::Vec;
  V t[6][6];
  const bool inside = top >= 0 && left >= 0 && top + kWindow <= x.rows && left + kWindow <= x.cols;
  const T* corner = x.base + top * x.step_y + left * x.step_x;
  for (int s = 0; s < 6; ++s) {
    V d[6], column[6];
    for (int r = 0; r < 6; ++r) {
      const bool there = inside || (top + r >= 0 && top + r < x.rows && left + s >= 0 && left + s < x.cols);
      d[r] = there ? S::load(corner + r * x.step_y + s * x.step_x) * scale : V{};
    }
    input_1d<V>(d, column);
    for (int r = 0; r < 6; ++r) t[r][s] = column[r];
  }
  for (int r = 0; r < 6; ++r) {
    V row[6];
    input_1d<V>(t[r], row);
    for (int s = 0; s < 6; ++s) S::store(v + (r * 6 + s) * pitch, row[s]);
  }
}

// The 4x4 results of eight channels from m[position * pitch].
template <typename T>
inline void output_tile(const T* m, int64_t pitch, typename Simd<T>::Vec y[4][4]) {
  using V = typename Simd<T>::Vec;
  V t[4][6];
  for (int s = 0; s < 6; ++s) {
    V column[6], short_column[4];
    for (int r = 0; r < 6; ++r) column[r] = Simd<T>::load(m + (r * 6 + s) * pitch);
    output_1d<V>(column, short_column);
    for (int r = 0; r < 4; ++r) t[r][s] = short_column[r];
  }
  for (int r = 0; r < 4; ++r) output_1d<V>(t[r], y[r]);
}

// A y A' of one 4x4 tile of eight channels; outside the plane there are zeros.
template <typename T>
inline void output_adjoint_tile(const Plane<const T*>& y, int64_t top, int64_t left, T* z, int64_t pitch) {
  using S = Simd<T>;
  using V = typename S::Vec;
  V t[6][4];
  for (int s = 0; s < 4; ++s) {
    V d[4], column[6];
    for (int r = 0; r < 4; ++r) {
      const bool there = top + r < y.rows && left + s < y.cols;
      d[r] = there ? S::load(y.base + (top + r) * y.step_y + (left + s) * y.step_x) : V{};
    }
    output_adjoint_1d<V>(d, column);
    for (int r = 0; r < 6; ++r) t[r][s] = column[r];
  }
  for (int r = 0; r < 6; ++r) {
    V row[6];
    output_adjoint_1d<V>(t[r], row);
    for (int s = 0; s < 6; ++s) S::store(z + (r * 6 + s) * pitch, row[s]);
  }
}

// Not inlined, so that all registers are theirs: where the sums went to memory, half of the time did.
//
// c[ROWS][panel] = a[ROWS][K] b[K][panel]; rows of a and c lie lda and ldc apart.
template <typename T, int ROWS>
[[gnu::noinline]] void multiply(const T* a, int64_t lda, const T* b, int64_t inner, T* c, int64_t ldc) {
  using S = Simd<T>;
  typename S::Vec sum[ROWS][2] = {};
  for (int64_t k = 0; k < inner; ++k) {
    const auto b0 = S::load(b + k * S::panel), b1 = S::load(b + k * S::panel + S::lanes);
    for (int r = 0; r < ROWS; ++r) {
      sum[r][0] += a[r * lda + k] * b0;
      sum[r][1] += a[r * lda + k] * b1;
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    S::store(c + r * ldc, sum[r][0]);
    S::store(c + r * ldc + S::lanes, sum[r][1]);
  }
}

// c[ROWS][panel] = or += a[K][ROWS]' b[K][panel]; rows of a, b and c lie lda, ldb and ldc apart.
template <typename T, int ROWS>
[[gnu::noinline]] void multiply_transposed(
    const T* a, int64_t lda, const T* b, int64_t ldb, int64_t inner, bool add, T* c, int64_t ldc) {
  using S = Simd<T>;
  typename S::Vec sum[ROWS][2] = {};
  for (int64_t k = 0; k < inner; ++k) {
    const auto b0 = S::load(b + k * ldb), b1 = S::load(b + k * ldb + S::lanes);
    for (int r = 0; r < ROWS; ++r) {
      sum[r][0] += a[k * lda + r] * b0;
      sum[r][1] += a[k * lda + r] * b1;
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    T* to = c + r * ldc;
    S::store(to, add ? S::load(to) + sum[r][0] : sum[r][0]);
    S::store(to + S::lanes, add ? S::load(to + S::lanes) + sum[r][1] : sum[r][1]);
  }
}

}  // namespace winograd
