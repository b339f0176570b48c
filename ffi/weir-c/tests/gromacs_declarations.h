// What weirmodel.cpp and weirfarpairs.cpp use of GROMACS, in our own words: enough to see that the classes are sound C++ for each form of the
// interface, and to run the second (gromacs_far_pairs.cpp).
// It proves nothing about GROMACS itself; tests/clients/gromacs_native.sh does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>

#include <cmath>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
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
    PbcType type;
    matrix  box;
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
    NeuralNetworkPotentialEnergy,
    CoulombReciprocalSpace,
    ReactionFieldExclusion
};
constexpr InteractionFunction F_ENNPOT     = InteractionFunction::NeuralNetworkPotentialEnergy;
constexpr InteractionFunction F_COUL_RECIP = InteractionFunction::CoulombReciprocalSpace;
constexpr InteractionFunction F_RF_EXCL    = InteractionFunction::ReactionFieldExclusion;
struct gmx_enerdata_t
{
    std::map<InteractionFunction, real> term;
};
struct gmx_mtop_t
{
};
struct t_atom
{
    int            atomnumber;
    real           q, qB;
    unsigned short type, typeB;
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

enum class CoulombInteractionType
{
    Cut,
    RF,
    Pme,
    Ewald,
    Fmm
};
enum class VanDerWaalsType
{
    Cut,
    Pme
};
inline bool usingRF(const CoulombInteractionType& t)
{
    return t == CoulombInteractionType::RF;
}
inline bool usingLJPme(const VanDerWaalsType& t)
{
    return t == VanDerWaalsType::Pme;
}
struct interaction_const_t
{
#if GMX_WEIR_INTERFACE >= 2026
    struct
    {
        VanDerWaalsType type;
    } vdw;
    struct
    {
        CoulombInteractionType type;
        real                   cutoff, ewaldCoeff, epsfac, reactionFieldCoefficient, reactionFieldShift;
    } coulomb;
    bool nbnxmIsDirectCoulombProvider = true;
#else
    VanDerWaalsType        vdwtype;
    CoulombInteractionType eeltype;
    real                   rcoulomb, ewaldcoeff_q, epsfac, reactionFieldCoefficient, reactionFieldShift;
#endif
    std::unique_ptr<int> softCoreParameters;
};
enum class ModuleMultiThread
{
    Default
};
inline int gmx_omp_nthreads_get(ModuleMultiThread)
{
    return 3;
}

#define GMX_THROW(e) throw e
#define GMX_LOG(l) (l)

namespace gmx
{
using Index = std::ptrdiff_t;

struct RVec
{
    RVec() = default;
    RVec(real x, real y, real z) : v{ x, y, z } {}
    real  operator[](int i) const { return v[i]; }
    real& operator[](int i) { return v[i]; }
    RVec& operator+=(const RVec& o) { return *this = *this + o; }
    RVec  operator+(const RVec& o) const { return { v[0] + o[0], v[1] + o[1], v[2] + o[2] }; }

    real v[3];
};
template<typename T>
struct ArrayRef
{
    ArrayRef() = default;
    template<typename Container>
    ArrayRef(Container&& c) : data_(c.data()), size_(c.size())
    {
    }
    T*             begin() const { return data_; }
    T*             end() const { return data_ + size_; }
    T*             data() const { return data_; }
    std::size_t    size() const { return size_; }
    std::ptrdiff_t ssize() const { return size_; }
    bool           empty() const { return size_ == 0; }
    T&             operator[](std::ptrdiff_t i) const { return data_[i]; }

    T*          data_ = nullptr;
    std::size_t size_ = 0;
};
template<typename... Arguments>
std::string formatString(const char* format, Arguments... arguments)
{
    char text[1000];
    std::snprintf(text, sizeof text, format, arguments...);
    return text;
}
struct LogLine
{
    LogLine asParagraph() const;
    void    appendText(const std::string&) const;
};
class MDLogger
{
public:
    LogLine info, warning;
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
struct ForceProviderOutput
{
    ForceWithVirial& forceWithVirial_;
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

inline void set_pbc(t_pbc* pbc, PbcType type, const matrix& box)
{
    pbc->type = type;
    std::copy(&box[0][0], &box[0][0] + 9, &pbc->box[0][0]);
}
namespace gmx
{
// Our own numbering: one box to either side, the last direction counting most, as GROMACS has it.
constexpr int c_centralShiftIndex = 13, c_numShiftVectors = 27;
} // namespace gmx
inline void calc_shifts(const matrix& box, gmx::ArrayRef<gmx::RVec> shifts)
{
    for (int i = 0; i < 27; i++)
    {
        for (int k = 0; k < 3; k++)
        {
            shifts[i][k] = (i % 3 - 1) * box[0][k] + (i / 3 % 3 - 1) * box[1][k] + (i / 9 - 1) * box[2][k];
        }
    }
}
//! The nearest of all images one box around, of atoms within the box.
inline int pbc_dx_aiuc(const t_pbc* pbc, const gmx::RVec& a, const gmx::RVec& b, gmx::RVec& d)
{
    std::array<gmx::RVec, 27> shifts;
    calc_shifts(pbc->box, shifts);
    int  nearest = gmx::c_centralShiftIndex;
    real least   = -1;
    for (int i = 0; i < 27; i++)
    {
        const gmx::RVec& by = shifts[i];
        const gmx::RVec  e  = { a[0] - b[0] + by[0], a[1] - b[1] + by[1], a[2] - b[2] + by[2] };
        const real       r2 = e[0] * e[0] + e[1] * e[1] + e[2] * e[2];
        if ((least < 0 || r2 < least) && (pbc->type == PbcType::Xyz || i == gmx::c_centralShiftIndex))
        {
            nearest = i;
            least   = r2;
            d       = e;
        }
    }
    return nearest;
}

#define GMX_TORCH 0
