// What weirmodel.cpp uses of GROMACS, in our own words: enough to see that the class is sound C++ for each form of the interface.
// It proves nothing about GROMACS itself; tests/clients/gromacs_native.sh does.
#pragma once

#include <cstddef>
#include <cstdint>

#include <array>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

using real = float;
typedef real matrix[3][3];
enum class PbcType : int
{
    Xyz,
    No,
    XY
};
struct t_pbc
{
};
struct t_commrec
{
};
inline bool MAIN(const t_commrec*)
{
    return true;
}
inline bool havePPDomainDecomposition(const t_commrec*)
{
    return false;
}
inline void gmx_sum(std::size_t, real*, const t_commrec*) {}
enum class InteractionFunction
{
    NeuralNetworkPotentialEnergy
};
constexpr InteractionFunction F_ENNPOT = InteractionFunction::NeuralNetworkPotentialEnergy;
struct gmx_enerdata_t
{
    std::map<InteractionFunction, real> term;
};
struct gmx_mtop_t
{
};
struct t_atom
{
    int atomnumber;
};
struct t_atoms
{
    t_atom* atom;
};
t_atoms gmx_mtop_global_atoms(const gmx_mtop_t&);
struct AtomProperties
{
    int atomNumberFromElement(const char*);
};

#define GMX_THROW(e) throw e
#define GMX_LOG(l) (l)

namespace gmx
{
using Index = std::ptrdiff_t;

struct RVec
{
    RVec() = default;
    RVec(real, real, real);
    real  operator[](int) const;
    real& operator[](int);
    RVec& operator+=(const RVec&);
    RVec  operator+(const RVec&) const;
};
template<typename T>
struct ArrayRef
{
    ArrayRef() = default;
    template<typename Container>
    ArrayRef(Container&&);
    T*             begin() const;
    T*             end() const;
    T*             data() const;
    std::size_t    size() const;
    std::ptrdiff_t ssize() const;
    bool           empty() const;
    T&             operator[](std::ptrdiff_t) const;
};
struct LogLine
{
    LogLine asParagraph() const;
    void    appendText(const std::string&) const;
};
class MDLogger
{
public:
    LogLine info;
};
struct NotImplementedError : std::runtime_error
{
    using std::runtime_error::runtime_error;
};
using InvalidInputError      = NotImplementedError;
using InconsistentInputError = NotImplementedError;
using InternalError          = NotImplementedError;
class MpiComm
{
public:
    bool isMainRank() const;
    bool isParallel() const;
    void sumReduce(std::size_t, float*) const;
};
class LinkFrontierAtom
{
public:
    int                    getEmbeddedIndex() const;
    int                    getMMIndex() const;
    int                    getInputIndexEmb() const;
    int                    getInputIndexMM() const;
    std::tuple<RVec, RVec> spreadForce(const RVec&, const t_pbc&) const;
};
class ForceWithVirial
{
public:
    void addVirialContribution(const matrix);
    bool computeVirial_;
};
enum class NNPotEmbedding
{
    Mechanical,
    ElectrostaticModel
};

class INNPotModel
{
public:
#if GMX_WEIR_INTERFACE >= 2026
    virtual ~INNPotModel() = default;
#    if GMX_WEIR_INTERFACE >= 2027
    using Box = matrix&;
    using Pbc = PbcType&;
#    else
    using Box = matrix*;
    using Pbc = PbcType*;
#    endif
    virtual void evaluateModel(gmx_enerdata_t*,
                               ArrayRef<RVec>,
                               ArrayRef<const int>,
                               ArrayRef<const int>,
                               ArrayRef<const std::string>,
                               ArrayRef<RVec>,
                               ArrayRef<int>,
                               ArrayRef<int>,
                               ArrayRef<RVec>,
                               ArrayRef<RVec>,
                               ArrayRef<real>,
                               real,
                               ArrayRef<const LinkFrontierAtom>,
                               Box,
                               Pbc) = 0;
#else
    virtual void initModel()                                                           = 0;
    virtual void prepareAtomPositions(std::vector<RVec>&)                              = 0;
    virtual void prepareAtomNumbers(std::vector<int>&)                                 = 0;
    virtual void prepareBox(matrix&)                                                   = 0;
    virtual void preparePbcType(PbcType&)                                              = 0;
    virtual void evaluateModel()                                                       = 0;
    virtual void getOutputs(std::vector<int>&, gmx_enerdata_t&, const ArrayRef<RVec>&) = 0;
    virtual void setCommRec(const t_commrec*)                                          = 0;
#endif
    virtual bool outputsForces() const = 0;
};
} // namespace gmx

void set_pbc(t_pbc*, PbcType, const matrix&);
void pbc_dx_aiuc(const t_pbc*, const gmx::RVec&, const gmx::RVec&, gmx::RVec&);

#define GMX_TORCH 0
