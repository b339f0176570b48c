// What a header-only C++ wrapper of the C interface does, in its order: every call is followed by CheckOK, every text is copied and given back, objects
// are moved and deleted. wrapper SYSTEM MODEL OTHER [PARAMETERS]: prints a line of numbers for every case; wrapper.rs compares them with the engine's.
// PARAMETERS is a model with frame, atomic or charge-spin input.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "wrapper.h"

template <class T>
using Values = std::vector<T>;

static void require(bool what, const char* text) {
  if (!what) throw std::logic_error(text);
}
#define REQUIRE(what) require(what, #what)

static std::string taken(const char* text) {
  std::string copy(text);
  DP_DeleteChar(text);
  return copy;
}

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class T>
static void check(const char* (*ok)(T*), T* handle) {
  std::string said = taken(ok(handle));
  if (!said.empty()) throw Failure(said);
}

struct System {
  Values<int> types;
  Values<double> x, cell;
};

static System read(const char* path) {
  std::ifstream in(path);
  System s;
  std::size_t n = 0;
  in >> n;
  s.cell.resize(9);
  s.types.resize(n);
  s.x.resize(3 * n);
  for (double& v : s.cell) in >> v;
  for (std::size_t i = 0; i < n; i++) in >> s.types[i] >> s.x[3 * i] >> s.x[3 * i + 1] >> s.x[3 * i + 2];
  REQUIRE(in.good());
  return s;
}

template <class T>
static Values<T> as(const Values<double>& v) {
  return Values<T>(v.begin(), v.end());
}

template <class T>
static Values<T> twice(Values<T> v) {
  Values<T> copy(v);
  v.insert(v.end(), copy.begin(), copy.end());
  return v;
}

// A potential as the wrapper holds it: model read to a string first, facts asked once, base getters through a cast.
class Potential {
 public:
  explicit Potential(const std::string& name, const std::string& content = "") {
    dp_ = DP_NewDeepPotWithParam2(name.c_str(), 0, content.c_str(), static_cast<int>(content.size()));
    REQUIRE(dp_ != nullptr);
    try {
      check(DP_DeepPotCheckOK, dp_);
    } catch (...) {
      DP_DeleteDeepPot(dp_);
      throw;
    }
    fparam = DP_DeepPotGetDimFParam(dp_);
    aparam = DP_DeepPotGetDimAParam(dp_);
    charge_spin = DP_DeepPotGetDimChgSpin(dp_);
    REQUIRE(!DP_DeepPotIsAParamNAll(dp_));
    defaults = DP_DeepPotHasDefaultFParam(dp_);
  }
  Potential(Potential&& other) : fparam(other.fparam), aparam(other.aparam), charge_spin(other.charge_spin), defaults(other.defaults), dp_(other.dp_) {
    other.dp_ = nullptr;
  }
  Potential(const Potential&) = delete;
  ~Potential() { DP_DeleteDeepPot(dp_); }
  DP_DeepPot* get() const { return dp_; }
  DP_DeepBaseModel* base() const { return reinterpret_cast<DP_DeepBaseModel*>(dp_); }
  void ok() const { check(DP_DeepPotCheckOK, dp_); }
  int fparam, aparam, charge_spin;
  bool defaults;

 private:
  DP_DeepPot* dp_;
};

// Results of frames (or models) behind each other.
template <class T>
struct Out {
  Out(std::size_t frames, std::size_t atoms)
      : energy(frames, -1), force(3 * frames * atoms, T(-1)), virial(9 * frames, T(-1)), energies(frames * atoms, T(-1)), virials(9 * frames * atoms, T(-1)) {}
  Values<double> energy;
  Values<T> force, virial, energies, virials;
};

template <class T>
static void show(const char* name, const Out<T>& o, bool atomic = true) {
  std::printf("%s", name);
  for (double e : o.energy) std::printf(" %.17g", e);
  for (const Values<T>* part : {&o.force, &o.virial, &o.energies, &o.virials}) {
    if (!atomic && (part == &o.energies || part == &o.virials)) continue;
    for (T v : *part) std::printf(" %.9g", static_cast<double>(v));
  }
  std::printf("\n");
}
template <>
void show(const char* name, const Out<double>& o, bool atomic) {
  std::printf("%s", name);
  for (const Values<double>* part : {&o.energy, &o.force, &o.virial, &o.energies, &o.virials}) {
    if (!atomic && (part == &o.energies || part == &o.virials)) continue;
    for (double v : *part) std::printf(" %.17g", v);
  }
  std::printf("\n");
}

template <class T>
static void without_list(const Potential& p, const System& s, const std::string& kind) {
  typedef Functions<T> F;
  const int n = static_cast<int>(s.types.size());
  const Values<T> x = as<T>(s.x), cell = as<T>(s.cell);
  Out<T> one(1, n), open(1, n), two(2, n), mixed(2, n), few(1, n);
  F::compute(p.get(), 1, n, x.data(), s.types.data(), cell.data(), nullptr, nullptr, one.energy.data(), one.force.data(), one.virial.data(),
             one.energies.data(), one.virials.data());
  p.ok();
  show((kind + " periodic").c_str(), one);
  F::compute(p.get(), 1, n, x.data(), s.types.data(), nullptr, nullptr, nullptr, open.energy.data(), open.force.data(), open.virial.data(),
             open.energies.data(), open.virials.data());
  p.ok();
  show((kind + " open").c_str(), open);
  // Without terms of atoms.
  F::compute(p.get(), 1, n, x.data(), s.types.data(), cell.data(), nullptr, nullptr, few.energy.data(), few.force.data(), few.virial.data(), nullptr,
             nullptr);
  p.ok();
  REQUIRE(few.energy == one.energy);
  const Values<T> frames = twice(x), cells = twice(cell);
  F::compute(p.get(), 2, n, frames.data(), s.types.data(), cells.data(), nullptr, nullptr, two.energy.data(), two.force.data(), two.virial.data(),
             two.energies.data(), two.virials.data());
  p.ok();
  show((kind + " frames").c_str(), two);
  // The second frame has its types in reverse order.
  Values<int> types(s.types);
  types.insert(types.end(), s.types.rbegin(), s.types.rend());
  F::mixed(p.get(), 2, n, frames.data(), types.data(), cells.data(), nullptr, nullptr, mixed.energy.data(), mixed.force.data(), mixed.virial.data(),
           mixed.energies.data(), mixed.virials.data());
  p.ok();
  show((kind + " mixed").c_str(), mixed);
}

// Owned atoms, their images within reach, and a full list.
struct Ghosts {
  Values<double> x;
  Values<int> types, owner, ilist, numneigh;
  std::vector<Values<int>> rows;
  Values<int*> first;
  Ghosts(const System& s, double reach) : x(s.x), types(s.types) {
    const int n = static_cast<int>(s.types.size());
    const auto near = [&](const double* a, const double* b) {
      double d = 0;
      for (int k = 0; k < 3; k++) d += (a[k] - b[k]) * (a[k] - b[k]);
      return d < reach * reach;
    };
    for (int i = 0; i < n; i++) owner.push_back(i);
    for (int image = 0; image < 125; image++) {
      const int m[3] = {image % 5 - 2, image / 5 % 5 - 2, image / 25 - 2};
      for (int j = 0; j < n && image != 62; j++) {
        double y[3];
        for (int k = 0; k < 3; k++) y[k] = s.x[3 * j + k] + m[0] * s.cell[k] + m[1] * s.cell[3 + k] + m[2] * s.cell[6 + k];
        bool seen = false;
        for (int i = 0; i < n && !seen; i++) seen = near(&s.x[3 * i], y);
        if (!seen) continue;
        x.insert(x.end(), y, y + 3);
        types.push_back(s.types[j]);
        owner.push_back(j);
      }
    }
    rows.resize(n);
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < all(); j++) {
        // The upper bits are LAMMPS' own; the mask takes them away.
        if (j != i && near(&x[3 * i], &x[3 * j])) rows[i].push_back(j | (1 << 30));
      }
      ilist.push_back(i);
      numneigh.push_back(static_cast<int>(rows[i].size()));
      first.push_back(rows[i].data());
    }
  }
  int all() const { return static_cast<int>(types.size()); }
  int ghosts() const { return all() - static_cast<int>(rows.size()); }
};

static DP_Nlist* new_list(Ghosts& g) {
  // The wrapper makes an empty list first and replaces it.
  DP_Nlist* list = DP_NewNlist(0, nullptr, nullptr, nullptr);
  check(DP_NlistCheckOK, list);
  DP_DeleteNlist(list);
  list = DP_NewNlist_comm(static_cast<int>(g.rows.size()), g.ilist.data(), g.numneigh.data(), g.first.data(), 0, nullptr, nullptr, nullptr, nullptr,
                          nullptr, nullptr, nullptr, 1);
  check(DP_NlistCheckOK, list);
  DP_NlistSetMask(list, 0x1FFFFFFF);
  DP_NlistSetMapping(list, g.owner.data());
  return list;
}

template <class T>
static void with_list(const Potential& p, const System& s, const std::string& kind) {
  typedef Functions<T> F;
  Ghosts g(s, DP_DeepPotGetCutoff(p.get()) + 1);
  DP_Nlist* list = new_list(g);
  for (int ago : {0, 1}) {
    // A step later everything has moved along, ghosts too.
    for (double& v : g.x) v += 0.125 * ago;
    const Values<T> x = as<T>(g.x), cell = as<T>(s.cell);
    Out<T> o(1, g.all());
    F::listed(p.get(), 1, g.all(), x.data(), g.types.data(), cell.data(), g.ghosts(), list, ago, nullptr, nullptr, o.energy.data(), o.force.data(),
              o.virial.data(), o.energies.data(), o.virials.data());
    p.ok();
    const std::size_t n = g.rows.size();
    for (std::size_t k = 3 * n; k < o.force.size(); k++) REQUIRE(o.force[k] == 0);
    for (std::size_t k = n; k < o.energies.size(); k++) REQUIRE(o.energies[k] == 0);
    o.force.resize(3 * n);
    o.energies.resize(n);
    o.virials.resize(9 * n);
    show((kind + (ago ? " list later" : " list")).c_str(), o);
  }
  DP_DeleteNlist(list);
}

template <class T>
static void deviation(const System& s, const std::string& kind, const char* model, const char* other, const std::string& content) {
  typedef Functions<T> F;
  const char* names[] = {model, other};
  const int n = static_cast<int>(s.types.size());
  // The first model comes as bytes, the second as a file.
  const char* contents[] = {content.data(), ""};
  const int sizes[] = {static_cast<int>(content.size()), 0};
  DP_DeepPotModelDevi* dp = DP_NewDeepPotModelDeviWithParam(names, 2, 0, contents, 2, sizes);
  check(DP_DeepPotModelDeviCheckOK, dp);
  REQUIRE(DP_DeepPotModelDeviGetDimFParam(dp) == 0 && DP_DeepPotModelDeviGetDimAParam(dp) == 0 && DP_DeepPotModelDeviGetDimChgSpin(dp) == 0);
  REQUIRE(!DP_DeepPotModelDeviIsAParamNAll(dp) && !DP_DeepPotModelDeviHasDefaultFParam(dp));
  DP_DeepBaseModelDevi* base = reinterpret_cast<DP_DeepBaseModelDevi*>(dp);
  REQUIRE(DP_DeepBaseModelDeviGetCutoff(base) > 0 && DP_DeepBaseModelDeviGetNumbTypes(base) == 5 && DP_DeepBaseModelDeviGetNumbTypesSpin(base) == 0);
  const Values<T> x = as<T>(s.x), cell = as<T>(s.cell);
  Out<T> o(2, n);
  F::deviation(dp, 1, n, x.data(), s.types.data(), cell.data(), nullptr, nullptr, o.energy.data(), o.force.data(), o.virial.data(), o.energies.data(),
               o.virials.data());
  check(DP_DeepPotModelDeviCheckOK, dp);
  show((kind + " deviation").c_str(), o);
  Ghosts g(s, DP_DeepBaseModelDeviGetCutoff(base) + 1);
  DP_Nlist* list = new_list(g);
  const Values<T> gx = as<T>(g.x);
  Out<T> l(2, g.all());
  F::listed_deviation(dp, 1, g.all(), gx.data(), g.types.data(), cell.data(), g.ghosts(), list, 0, nullptr, nullptr, l.energy.data(), l.force.data(),
                      l.virial.data(), nullptr, nullptr);
  check(DP_DeepPotModelDeviCheckOK, dp);
  DP_DeleteNlist(list);
  // Owned rows of both models, as the one call gave them.
  Out<T> owned(2, n);
  owned.energy = l.energy;
  owned.virial = l.virial;
  for (int m = 0; m < 2; m++) {
    for (int k = 0; k < 3 * n; k++) owned.force[3 * n * m + k] = l.force[3 * g.all() * m + k];
  }
  show((kind + " deviation list").c_str(), owned, false);
  DP_DeleteDeepPotModelDevi(dp);
}

// What goes wrong comes back once, as the wrapper's exception, and leaves the object usable.
static void errors(const Potential& p, const System& s, const char* model) {
  const int n = static_cast<int>(s.types.size());
  Out<double> o(1, n);
  const auto compute = [&](const int* types, int atoms) {
    DP_DeepPotCompute2(p.get(), 1, atoms, s.x.data(), types, s.cell.data(), nullptr, nullptr, o.energy.data(), o.force.data(), o.virial.data(), nullptr,
                       nullptr);
    p.ok();
  };
  Values<int> wrong(s.types);
  wrong[1] = 77;
  bool thrown = false;
  try {
    compute(wrong.data(), n);
  } catch (const Failure& e) {
    std::printf("error %s\n", e.what());
    thrown = true;
  }
  REQUIRE(thrown);
  p.ok();
  compute(s.types.data(), n);
  std::string junk("no model");
  for (const std::string& name : {std::string("/nowhere/model.dp"), std::string("junk.dp")}) {
    thrown = false;
    try {
      Potential none(name, name == "junk.dp" ? junk : "");
    } catch (const Failure& e) {
      std::printf("error %s\n", e.what());
      thrown = true;
    }
    REQUIRE(thrown);
  }
  // A failed read is a text of minus that many bytes.
  int size = 0;
  const char* text = DP_ReadFileToChar2("/nowhere/model.dp", &size);
  REQUIRE(size < 0);
  std::printf("error %s\n", std::string(text, -size).c_str());
  DP_DeleteChar(text);
  const double two[] = {1, 2};
  DP_DeepPotSetChargeSpin(p.get(), two, 2);
  thrown = false;
  try {
    p.ok();
  } catch (const Failure& e) {
    std::printf("error %s\n", e.what());
    thrown = true;
  }
  REQUIRE(thrown);
  REQUIRE(!DP_DeepPotSupportsDeviceEdgeInference(p.get()));
  p.ok();
  REQUIRE(!DP_DeepPotUsesFP32EdgeVectors(p.get()) && !DP_DeepPotUsesCanonicalGraphInference(p.get()));
  p.ok();
  // Several frames of several models are none of the interface's.
  const char* names[] = {model, model};
  DP_DeepPotModelDevi* dp = DP_NewDeepPotModelDeviWithParam(names, 2, 0, nullptr, 0, nullptr);
  check(DP_DeepPotModelDeviCheckOK, dp);
  Out<double> many(4, n);
  const Values<double> x = twice(s.x), cells = twice(s.cell);
  DP_DeepPotModelDeviCompute2(dp, 2, n, x.data(), s.types.data(), cells.data(), nullptr, nullptr, many.energy.data(), many.force.data(),
                              many.virial.data(), nullptr, nullptr);
  std::printf("error %s\n", taken(DP_DeepPotModelDeviCheckOK(dp)).c_str());
  REQUIRE(taken(DP_DeepPotModelDeviCheckOK(dp)).empty());
  DP_DeleteDeepPotModelDevi(dp);
}

// Frame, atomic and charge-spin input, with and without a list.
static void parameters(const System& s, const char* model) {
  Potential p(model);
  const int n = static_cast<int>(s.types.size()), known = DP_DeepBaseModelGetNumbTypes(p.base());
  System own(s);
  for (int& t : own.types) t %= known;
  Values<double> f, a, q;
  for (int k = 0; k < p.fparam; k++) f.push_back(0.3 + k);
  for (int k = 0; k < n * p.aparam; k++) a.push_back(0.1 * k);
  for (int k = 0; k < p.charge_spin; k++) q.push_back(1.0 + k);
  const auto at = [](const Values<double>& v) { return v.empty() ? nullptr : v.data(); };
  std::printf("parameters are %d %d %d\n", p.fparam, p.aparam, p.charge_spin);
  Out<double> o(1, n);
  DP_DeepPotCompute3(p.get(), 1, n, own.x.data(), own.types.data(), own.cell.data(), at(f), at(a), at(q), o.energy.data(), o.force.data(),
                     o.virial.data(), o.energies.data(), o.virials.data());
  p.ok();
  show("parameters", o, false);
  Ghosts g(own, DP_DeepPotGetCutoff(p.get()) + 1);
  DP_Nlist* list = new_list(g);
  Out<double> l(1, g.all());
  DP_DeepPotComputeNList3(p.get(), 1, g.all(), g.x.data(), g.types.data(), own.cell.data(), g.ghosts(), list, 0, at(f), at(a), at(q), l.energy.data(),
                          l.force.data(), l.virial.data(), nullptr, nullptr);
  p.ok();
  DP_DeleteNlist(list);
  l.force.resize(3 * n);
  show("parameters list", l, false);
}

int main(int count, char** arguments) try {
  REQUIRE(count >= 4);
  const System s = read(arguments[1]);
  int size = 0;
  const char* bytes = DP_ReadFileToChar2(arguments[2], &size);
  REQUIRE(size > 0);
  std::string content(bytes, size);
  DP_DeleteChar(bytes);
  Potential first(arguments[2], content);
  // The object keeps nothing of the caller's bytes.
  content.assign(content.size(), 'x');
  Potential p(std::move(first));
  const char* map = DP_DeepBaseModelGetTypeMap(p.base());
  const char* again = DP_DeepPotGetTypeMap(p.get());
  REQUIRE(map != again);
  DP_DeleteChar(again);
  std::printf("facts %.17g %d %d %d %d %d %d %s\n", DP_DeepBaseModelGetCutoff(p.base()), DP_DeepBaseModelGetNumbTypes(p.base()),
              DP_DeepBaseModelGetNumbTypesSpin(p.base()), p.fparam, p.aparam, p.charge_spin, p.defaults, taken(map).c_str());
  without_list<double>(p, s, "double");
  without_list<float>(p, s, "float");
  with_list<double>(p, s, "double");
  with_list<float>(p, s, "float");
  bytes = DP_ReadFileToChar2(arguments[2], &size);
  content.assign(bytes, size);
  DP_DeleteChar(bytes);
  deviation<double>(s, "double", arguments[2], arguments[3], content);
  deviation<float>(s, "float", arguments[2], arguments[3], content);
  errors(p, s, arguments[2]);
  for (int k = 4; k < count; k++) parameters(s, arguments[k]);
  // At its end a client deletes whatever it never made.
  DP_DeleteDeepPot(nullptr);
  DP_DeleteDeepPotModelDevi(nullptr);
  DP_DeleteDeepBaseModel(nullptr);
  DP_DeleteNlist(nullptr);
  DP_DeleteChar(nullptr);
  return 0;
} catch (const std::exception& e) {
  std::printf("%s\n", e.what());
  return 1;
}
