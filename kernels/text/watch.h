// Memory under watch on the host: bounds, reads of what nobody wrote, races between the blocks of a launch and between the threads of a
// block; bytes are counted.
#if defined(WEIR_HOST)
namespace weir {

// Times: what a block does between two barriers has one of its own (`state.now`), later ones are larger, over all launches of a device. Blocks
// run one after another, so one comparison tells whether something happened in this launch (not before `state.launch`), in this block (not
// before `state.start`), or since the last barrier. 0 is never; HOST is before any launch.
const u32 HOST = 1, LAST = 0xfffffff0u;
// Of readers: several threads.
const u32 MANY = 0xffffffffu;

// What happened to the four words at a multiple of 16 bytes: when they were last written, when last read, when first read in the launch of
// that, and which threads: in ten bits who wrote, in eleven each who read at the time of the last reading and who read in its block at all. Kept
// by the driver, for all memory of the device.
struct alignas(64) Words {
  u32 written[4], read[4], first[4], threads[4];
};
const u32 SEVERAL = 1024, WRITER = 1023, LAST_READER = 10, READER = 21;
static_assert(THREADS <= SEVERAL, "a thread's number has ten bits");
// The same for shared memory.
struct alignas(64) LocalWords {
  u32 written[4], read[4], writer[4], reader[4];
};

// Four words together.
typedef u32 Four __attribute__((vector_size(16)));
static inline Four four(const u32 *p) {
  Four x;
  memcpy(&x, p, 16);
  return x;
}
static inline Four all(u32 x) { return Four{x, x, x, x}; }
static inline bool any(Four x) {
  u64 y[2];
  memcpy(y, &x, 16);
  return y[0] | y[1];
}

// An element of an array, which is told of every access.
template <class Array, class T> struct Element {
  const Array &array;
  u64 at;
  ASKS operator T() const { return array.read(at); }
  ASKS void operator=(T value) const { array.write(at, value); }
  ASKS void operator=(const Element &other) const { array.write(at, T(other)); }
  ASKS void operator+=(T value) const { array.write(at, array.read(at) + value); }
};

// Device memory from an address on. HANDED: threads of a block may hand each other what they write there; compilers take all other arrays for
// what no other thread touches between a thread's own accesses, and may read them on the other side of a barrier.
template <class T, bool HANDED = false> struct Global {
  T *data;
  u64 count;
  // Where what happened to address 0 would stand: four bytes for each.
  u64 words;
  typedef typename std::remove_const<T>::type Value;
  // Bytes of a word that an element has.
  static const u32 PART = sizeof(T) < 4 ? sizeof(T) : 4;

  u64 address(u64 at) const { return (u64)(uintptr_t)(data + at); }
  Words &of(u64 address) const { return *(Words *)(uintptr_t)(words + (address & ~(u64)15) * 4); }

  // Word k is read, `bytes` of it.
  void reads(Words &w, u32 k, u32 bytes, u64 at) const {
    u32 t = w.written[k];
    if (t - 1 >= state.launch - 1) {
      if (t == 0) fault("read of memory that nobody wrote", at, count);
      if (t < state.start) fault("read of what another block of the launch writes", at, count);
      if ((w.threads[k] & WRITER) != state.thread) {
        if (t == state.now) fault("read without a barrier after another thread's write", at, count);
        if (!HANDED) fault("read of what another thread has written in an array that is not HANDED", at, count);
      }
    }
    u32 known = w.threads[k], me = state.thread, last = me, reader = me;
    if (w.read[k] == state.now && (known >> LAST_READER) % (2 * SEVERAL) != me) last = SEVERAL;
    if (w.read[k] >= state.start && known >> READER != me) reader = SEVERAL;
    w.threads[k] = (known & WRITER) | last << LAST_READER | reader << READER;
    if (w.read[k] != state.now) {
      phase_bytes += bytes;
      if (w.read[k] < state.start) block_bytes += bytes;
      if (w.read[k] < state.launch) {
        read_bytes += bytes;
        w.first[k] = state.now;
      }
      w.read[k] = state.now;
    }
  }
  void writes(Words &w, u32 k, u32 bytes, u64 at) const {
    if (w.read[k] >= state.launch && w.first[k] < state.start) fault("write of what another block of the launch reads", at, count);
    u32 known = w.threads[k], me = state.thread;
    if (sizeof(T) >= 4 && w.read[k] == state.now && (known >> LAST_READER) % (2 * SEVERAL) != me)
      fault("write without a barrier after another thread's read", at, count);
    if (sizeof(T) >= 4 && !HANDED && w.read[k] >= state.start && known >> READER != me)
      fault("write of what another thread has read in an array that is not HANDED", at, count);
    if (w.written[k] >= state.launch) {
      if (sizeof(T) >= 4 && w.written[k] < state.start) fault("write of what another block of the launch writes", at, count);
      if (sizeof(T) >= 4 && (known & WRITER) != me) {
        if (w.written[k] == state.now) fault("two threads write without a barrier", at, count);
        if (!HANDED) fault("write of what another thread has written in an array that is not HANDED", at, count);
      }
    } else {
      written_bytes += bytes;
    }
    w.written[k] = state.now;
    w.threads[k] = (known & ~WRITER) | me;
  }

  ASKS Value read(u64 at) const {
    if (at >= count) fault("read out of bounds", at, count);
    u64 a = address(at);
    ASKED(GLOBAL_READ, a, sizeof(T));
    Words &w = of(a);
    u32 k = a / 4 % 4;
    reads(w, k, PART, at);
    if (sizeof(T) > 4) reads(w, k + 1, PART, at);
    return data[at];
  }
  ASKS void write(u64 at, Value value) const {
    if (at >= count) fault("write out of bounds", at, count);
    u64 a = address(at);
    ASKED(GLOBAL_WRITE, a, sizeof(T));
    Words &w = of(a);
    u32 k = a / 4 % 4;
    writes(w, k, PART, at);
    if (sizeof(T) > 4) writes(w, k + 1, PART, at);
    const_cast<Value &>(data[at]) = value;
  }

  // N elements together, by accesses of 16 bytes at most.
  template <int N> u64 together(u64 at, const char *beyond) const {
    if (at >= count || count - at < N) fault(beyond, at < count ? count : at, count);
    u64 a = address(at);
    if (a % (N * sizeof(T) < 16 ? N * sizeof(T) : 16)) fault("elements that are accessed together do not stand at a multiple of their bytes", at, count);
    return a;
  }
  template <int N> ASKS void read_run(Value *x, u64 at) const {
    u64 a = together<N>(at, "read out of bounds");
    ASKED_RUN(GLOBAL_READ, a, N * sizeof(T));
    if (N * sizeof(T) % 16) {
      for (u64 b = a; b < a + N * sizeof(T); b += 4) reads(of(b), b / 4 % 4, N == 1 ? PART : 4, at + (b - a) / sizeof(T));
    } else {
      for (u64 b = a; b < a + N * sizeof(T); b += 16) {
        Words &w = of(b);
        // Written before the launch and read since the barrier already, by this thread or several, as nearly always.
        Four late = (Four)(four(w.written) - all(1) >= all(state.launch - 1)), fresh = (Four)(four(w.read) != all(state.now));
        Four known = four(w.threads), last = known >> LAST_READER & all(2 * SEVERAL - 1), reader = known >> READER, me = all(state.thread), several = all(SEVERAL);
        Four joins = ((Four)(last != me) & (Four)(last != several)) | ((Four)(reader != me) & (Four)(reader != several));
        if (any(late | fresh | joins))
          for (u32 k = 0; k < 4; k++) reads(w, k, 4, at + (b - a + 4 * k) / sizeof(T));
      }
    }
    memcpy(x, data + at, N * sizeof(T));
  }
  template <int N> ASKS void write_run(u64 at, const Value *x) const {
    u64 a = together<N>(at, "write out of bounds");
    ASKED_RUN(GLOBAL_WRITE, a, N * sizeof(T));
    for (u64 b = a; b < a + N * sizeof(T); b += 4) writes(of(b), b / 4 % 4, N == 1 ? PART : 4, at + (b - a) / sizeof(T));
    memcpy(const_cast<Value *>(data + at), x, N * sizeof(T));
  }

  ASKS typename std::conditional<std::is_const<T>::value, Value, Element<Global, T>>::type operator[](u64 at) const {
    if constexpr (std::is_const<T>::value)
      return read(at);
    else
      return Element<Global, T>{*this, at};
  }
  Global operator+(u64 offset) const {
    if (offset > count) fault("pointer out of bounds", offset, count);
    return {data + offset, count - offset, words};
  }
  template <bool LESS, class = typename std::enable_if<LESS || !HANDED>::type> operator Global<const T, LESS>() const { return {data, count, words}; }
  explicit operator bool() const { return data != nullptr; }
};

// Shared memory from an offset on.
template <class T> struct Local {
  u32 offset;

  T *address(u64 at, u64 n) const {
    if (offset + (at + n) * sizeof(T) > state.shared_bytes) fault("shared memory out of bounds", at, state.shared_bytes);
    return (T *)(state.shared + offset) + at;
  }
  static void reads(LocalWords &w, u32 k, u64 at) {
    if (w.written[k] < state.start) fault("read of shared memory that nobody wrote", at, 0);
    if (w.written[k] == state.now && w.writer[k] != state.thread)
      fault("shared memory is read without a barrier after another thread's write", at, 0);
    w.reader[k] = w.read[k] == state.now && w.reader[k] != state.thread ? MANY : state.thread;
    w.read[k] = state.now;
  }
  static void writes(LocalWords &w, u32 k, u64 at) {
    if (w.written[k] == state.now && w.writer[k] != state.thread) fault("two threads write shared memory without a barrier", at, 0);
    if (w.read[k] == state.now && w.reader[k] != state.thread)
      fault("shared memory is written without a barrier after another thread's read", at, 0);
    w.written[k] = state.now;
    w.writer[k] = state.thread;
  }

  ASKS T read(u64 at) const {
    T *p = address(at, 1);
    u32 word = (offset + at * sizeof(T)) / 4;
    ASKED(SHARED_READ, u64(word) * 4, sizeof(T));
    for (u32 k = word; k < word + sizeof(T) / 4; k++) reads(state.local[k / 4], k % 4, at);
    shared_bytes += sizeof(T);
    return *p;
  }
  ASKS void write(u64 at, T value) const {
    T *p = address(at, 1);
    u32 word = (offset + at * sizeof(T)) / 4;
    ASKED(SHARED_WRITE, u64(word) * 4, sizeof(T));
    for (u32 k = word; k < word + sizeof(T) / 4; k++) writes(state.local[k / 4], k % 4, at);
    shared_bytes += sizeof(T);
    *p = value;
  }

  template <int N> T *together(u64 at) const {
    T *p = address(at, N);
    if ((offset + at * sizeof(T)) % (N * sizeof(T) < 16 ? N * sizeof(T) : 16))
      fault("elements of shared memory that are accessed together do not stand at a multiple of their bytes", at, 0);
    return p;
  }
  template <int N> ASKS void read_run(T *x, u64 at) const {
    T *p = together<N>(at);
    u32 word = (offset + at * sizeof(T)) / 4, end = word + N * sizeof(T) / 4;
    ASKED_RUN(SHARED_READ, u64(word) * 4, N * sizeof(T));
    if (N * sizeof(T) % 16) {
      for (u32 k = word; k < end; k++) reads(state.local[k / 4], k % 4, at);
    } else {
      for (u32 k = word; k < end; k += 4) {
        LocalWords &w = state.local[k / 4];
        Four written = four(w.written), now = all(state.now), me = all(state.thread);
        if (any((Four)(written < all(state.start)) | ((Four)(written == now) & (Four)(four(w.writer) != me))))
          for (u32 i = 0; i < 4; i++) reads(w, i, at + (k - word + i) * 4 / sizeof(T));
        Four reader = me | ((Four)(four(w.read) == now) & (Four)(four(w.reader) != me));
        memcpy(w.reader, &reader, 16);
        memcpy(w.read, &now, 16);
      }
    }
    shared_bytes += N * sizeof(T);
    memcpy(x, p, N * sizeof(T));
  }
  template <int N> ASKS void write_run(u64 at, const T *x) const {
    T *p = together<N>(at);
    u32 word = (offset + at * sizeof(T)) / 4, end = word + N * sizeof(T) / 4;
    ASKED_RUN(SHARED_WRITE, u64(word) * 4, N * sizeof(T));
    if (N * sizeof(T) % 16) {
      for (u32 k = word; k < end; k++) writes(state.local[k / 4], k % 4, at);
    } else {
      for (u32 k = word; k < end; k += 4) {
        LocalWords &w = state.local[k / 4];
        Four now = all(state.now), me = all(state.thread);
        Four wrote = (Four)(four(w.written) == now) & (Four)(four(w.writer) != me), read = (Four)(four(w.read) == now) & (Four)(four(w.reader) != me);
        if (any(wrote | read))
          for (u32 i = 0; i < 4; i++) writes(w, i, at + (k - word + i) * 4 / sizeof(T));
        memcpy(w.written, &now, 16);
        memcpy(w.writer, &me, 16);
      }
    }
    shared_bytes += N * sizeof(T);
    memcpy(p, x, N * sizeof(T));
  }
  Element<Local, T> operator[](u64 at) const { return {*this, at}; }
  Local operator+(u64 count) const { return {u32(offset + count * sizeof(T))}; }
};

} // namespace weir
#endif
