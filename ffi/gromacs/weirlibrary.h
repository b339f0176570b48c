/* Weir's library, opened at run time, as a C++ class. Part of Weir (MIT OR Apache-2.0); knows nothing of GROMACS.
 *
 * Units everywhere: nm, kJ/mol, kJ/mol/nm.
 */
#ifndef WEIR_GROMACS_WEIRLIBRARY_H
#define WEIR_GROMACS_WEIRLIBRARY_H

#include <memory>
#include <string>
#include <vector>

namespace weir
{

/*! Whether the file is a model for Weir.
 *
 * By its ending: .dp .pth .pt2 .weir .yaml .yml are; .pt is unless torchTakesPt. GMX_NNPOT_BACKEND=weir or torch decides for .pt.
 * Throws std::runtime_error where GMX_NNPOT_BACKEND is something else.
 */
bool takesModel(const std::string& fileName, bool torchTakesPt);

/*! Settings for weir_create that follow from GMX_NN_DEVICE: "backend=cpu", "backend=cuda;device=1", or nothing.
 *
 * WEIR_BACKEND goes first: where it is set, GMX_NN_DEVICE says nothing. gpuBackend is what "gpu" means ("cuda" or "hip").
 * Throws std::runtime_error where GMX_NN_DEVICE is none of cpu, gpu, cuda, cuda:N, hip, hip:N.
 */
std::string deviceOptions(const char* gpuBackend);

//! Whether a potential of this process may hold memory of a GPU, so that the device must not be reset.
bool mayHoldDevice();

//! What one evaluation gives.
struct Evaluation
{
    double              energy = 0; //!< kJ/mol
    std::vector<double> forces;     //!< three an atom, kJ/mol/nm
    bool                hasVirial = false;
    double              virial[9] = { 0, 0, 0, 0, 0, 0, 0, 0, 0 }; //!< sum of r_i (x) F_i, row-major, kJ/mol
};

/*! A model behind a handle of libweir.so.
 *
 * Threads of the library start with the affinity that the process had when the first potential was made, not with that of a thread
 * that was pinned later, and never trap floating-point exceptions.
 * All functions throw std::runtime_error with the library's sentence.
 */
class Potential
{
public:
    //! Opens the library (GMX_WEIR_LIBRARY, else libweir.so where the loader looks) and reads the model.
    Potential(const std::string& modelFile, const std::string& options);
    ~Potential();
    Potential(const Potential&)            = delete;
    Potential& operator=(const Potential&) = delete;

    //! Says which elements the atoms are; cheap where nothing changed.
    void setAtomicNumbers(const int* numbers, std::size_t atoms);

    /*! Energy, forces and, if asked for, virial.
     *
     * positions: three an atom, anywhere. box: nine numbers, rows are box vectors; null: an isolated system.
     */
    const Evaluation& compute(const std::vector<double>& positions, const double* box, bool virial);

    //! A few lines about model, settings and memory.
    std::string summary() const;
    //! Version of the library, and where it came from.
    std::string origin() const;

private:
    struct Handle;
    std::unique_ptr<Handle> handle_;
};

/*! Removes from a virial what only a link atom would feel.
 *
 * A link atom lies at a fixed distance from its atom of the group, toward its partner. Straining the box moves both ends, not that distance,
 * so the part of its force along the bond does no work: the virial loses (e.f) e(x)e / e.e, e from the atom of the group to the link atom.
 */
void takeLinkOutOfVirial(const double e[3], const double force[3], double virial[9]);

} // namespace weir

#endif
