// deepmd::DeepPot over libdeepmd_c.so, for programs that were written for DeePMD-kit's C++ library and need no neighbour lists of their own.
// Laid out by `weir install-deepmd`; docs/c-api.md. Header only, C++11.
//
// Units: A, eV, eV/A; the virial is the sum of r x F in eV, row-major. Coordinates are frames x atoms x 3, boxes frames x 9 with lattice
// vectors as rows, or empty for open boundaries. Types index the model's type map; negative ones are virtual atoms.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

extern "C" {
struct DP_DeepPot;
DP_DeepPot* DP_NewDeepPotWithParam2(const char* model, const int gpu_rank, const char* content, const int size);
void DP_DeleteDeepPot(DP_DeepPot* dp);
const char* DP_DeepPotCheckOK(DP_DeepPot* dp);
void DP_DeleteChar(const char* text);
double DP_DeepPotGetCutoff(DP_DeepPot* dp);
int DP_DeepPotGetNumbTypes(DP_DeepPot* dp);
int DP_DeepPotGetDimFParam(DP_DeepPot* dp);
int DP_DeepPotGetDimAParam(DP_DeepPot* dp);
const char* DP_DeepPotGetTypeMap(DP_DeepPot* dp);
void DP_DeepPotCompute2(DP_DeepPot* dp, const int frames, const int atoms, const double* coord, const int* atype,
                        const double* cell, const double* fparam, const double* aparam, double* energy, double* force,
                        double* virial, double* atomic_energy, double* atomic_virial);
void DP_DeepPotComputef2(DP_DeepPot* dp, const int frames, const int atoms, const float* coord, const int* atype,
                         const float* cell, const float* fparam, const float* aparam, double* energy, float* force,
                         float* virial, float* atomic_energy, float* atomic_virial);
}

namespace deepmd {

// What went wrong, in the library's words.
struct deepmd_exception : public std::runtime_error {
  explicit deepmd_exception(const std::string& message) : std::runtime_error(message) {}
};

class DeepPot {
 public:
  DeepPot() {}
  explicit DeepPot(const std::string& model, const int gpu_rank = 0, const std::string& file_content = "") {
    init(model, gpu_rank, file_content);
  }
  ~DeepPot() { close(); }
  DeepPot(const DeepPot&) = delete;
  DeepPot& operator=(const DeepPot&) = delete;
  DeepPot(DeepPot&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  DeepPot& operator=(DeepPot&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  // Opens a model file, or its bytes where they are given. `gpu_rank` counts ranks of this node.
  void init(const std::string& model, const int gpu_rank = 0, const std::string& file_content = "") {
    close();
    handle_ = DP_NewDeepPotWithParam2(model.c_str(), gpu_rank, file_content.c_str(), static_cast<int>(file_content.size()));
    try {
      check();
    } catch (...) {
      close();
      throw;
    }
  }

  double cutoff() const { return DP_DeepPotGetCutoff(open()); }
  int numb_types() const { return DP_DeepPotGetNumbTypes(open()); }
  int dim_fparam() const { return DP_DeepPotGetDimFParam(open()); }
  int dim_aparam() const { return DP_DeepPotGetDimAParam(open()); }
  // Elements in the order of the types, with blanks between.
  void get_type_map(std::string& type_map) const { type_map = taken(DP_DeepPotGetTypeMap(open())); }

  // One frame.
  template <typename T>
  void compute(double& energy, std::vector<T>& force, std::vector<T>& virial, const std::vector<T>& coord,
               const std::vector<int>& atype, const std::vector<T>& box, const std::vector<T>& fparam = std::vector<T>(),
               const std::vector<T>& aparam = std::vector<T>()) {
    one<T>(energy, force, virial, nullptr, nullptr, coord, atype, box, fparam, aparam);
  }
  template <typename T>
  void compute(double& energy, std::vector<T>& force, std::vector<T>& virial, std::vector<T>& atom_energy,
               std::vector<T>& atom_virial, const std::vector<T>& coord, const std::vector<int>& atype,
               const std::vector<T>& box, const std::vector<T>& fparam = std::vector<T>(),
               const std::vector<T>& aparam = std::vector<T>()) {
    one<T>(energy, force, virial, &atom_energy, &atom_virial, coord, atype, box, fparam, aparam);
  }

  // Several frames of the same atoms.
  template <typename T>
  void compute(std::vector<double>& energy, std::vector<T>& force, std::vector<T>& virial, const std::vector<T>& coord,
               const std::vector<int>& atype, const std::vector<T>& box, const std::vector<T>& fparam = std::vector<T>(),
               const std::vector<T>& aparam = std::vector<T>()) {
    many<T>(energy, force, virial, nullptr, nullptr, coord, atype, box, fparam, aparam);
  }
  template <typename T>
  void compute(std::vector<double>& energy, std::vector<T>& force, std::vector<T>& virial, std::vector<T>& atom_energy,
               std::vector<T>& atom_virial, const std::vector<T>& coord, const std::vector<int>& atype,
               const std::vector<T>& box, const std::vector<T>& fparam = std::vector<T>(),
               const std::vector<T>& aparam = std::vector<T>()) {
    many<T>(energy, force, virial, &atom_energy, &atom_virial, coord, atype, box, fparam, aparam);
  }

 private:
  DP_DeepPot* handle_ = nullptr;

  DP_DeepPot* open() const {
    if (!handle_) throw deepmd_exception("no model is open: call init first");
    return handle_;
  }

  void close() {
    if (handle_) DP_DeleteDeepPot(handle_);
    handle_ = nullptr;
  }

  static std::string taken(const char* text) {
    const std::string copy(text ? text : "");
    if (text) DP_DeleteChar(text);
    return copy;
  }

  void check() const {
    const std::string message = taken(DP_DeepPotCheckOK(handle_));
    if (!message.empty()) throw deepmd_exception(message);
  }

  template <typename T>
  void one(double& energy, std::vector<T>& force, std::vector<T>& virial, std::vector<T>* ae, std::vector<T>* av,
           const std::vector<T>& coord, const std::vector<int>& atype, const std::vector<T>& box,
           const std::vector<T>& fparam, const std::vector<T>& aparam) {
    if (coord.size() != 3 * atype.size()) sizes("coordinates", coord.size(), 3 * atype.size());
    std::vector<double> energies;
    many<T>(energies, force, virial, ae, av, coord, atype, box, fparam, aparam);
    energy = energies.at(0);
  }

  template <typename T>
  void many(std::vector<double>& energy, std::vector<T>& force, std::vector<T>& virial, std::vector<T>* ae,
            std::vector<T>* av, const std::vector<T>& coord, const std::vector<int>& atype, const std::vector<T>& box,
            const std::vector<T>& fparam, const std::vector<T>& aparam) {
    const std::size_t atoms = atype.size();
    const std::size_t frames = atoms == 0 ? 1 : coord.size() / (3 * atoms);
    if (coord.size() != 3 * atoms * frames) sizes("coordinates", coord.size(), 3 * atoms * frames);
    if (!box.empty() && box.size() != 9 * frames) sizes("box numbers", box.size(), 9 * frames);
    const std::vector<T> f = spread("frame parameters", fparam, static_cast<std::size_t>(dim_fparam()), frames);
    const std::vector<T> a = spread("atomic parameters", aparam, static_cast<std::size_t>(dim_aparam()) * atoms, frames);
    energy.assign(frames, 0.0);
    force.assign(3 * atoms * frames, T(0));
    virial.assign(9 * frames, T(0));
    if (ae) ae->assign(atoms * frames, T(0));
    if (av) av->assign(9 * atoms * frames, T(0));
    call(static_cast<int>(frames), static_cast<int>(atoms), coord.data(), atype.data(), given(box), given(f), given(a),
         energy.data(), force.data(), virial.data(), ae ? ae->data() : nullptr, av ? av->data() : nullptr);
    check();
  }

  // Parameters of every frame: as they are, or the same for all.
  template <typename T>
  static std::vector<T> spread(const char* what, const std::vector<T>& values, std::size_t each, std::size_t frames) {
    if (values.empty() || values.size() == each * frames) return values;
    if (values.size() != each) sizes(what, values.size(), each * frames);
    std::vector<T> all;
    for (std::size_t k = 0; k < frames; ++k) all.insert(all.end(), values.begin(), values.end());
    return all;
  }

  static void sizes(const char* what, std::size_t found, std::size_t expected) {
    throw deepmd_exception(std::to_string(found) + " " + what + " given, " + std::to_string(expected) + " needed");
  }

  template <typename T>
  static const T* given(const std::vector<T>& values) {
    return values.empty() ? nullptr : values.data();
  }

  void call(int frames, int atoms, const double* x, const int* types, const double* box, const double* f, const double* a,
            double* e, double* force, double* virial, double* ae, double* av) {
    DP_DeepPotCompute2(open(), frames, atoms, x, types, box, f, a, e, force, virial, ae, av);
  }
  void call(int frames, int atoms, const float* x, const int* types, const float* box, const float* f, const float* a,
            double* e, float* force, float* virial, float* ae, float* av) {
    DP_DeepPotComputef2(open(), frames, atoms, x, types, box, f, a, e, force, virial, ae, av);
  }
};

}  // namespace deepmd
