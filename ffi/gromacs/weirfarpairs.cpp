/* Takes out what GROMACS' electrostatics keeps between atoms of the NNPot group beyond the cutoff. Part of Weir (MIT OR Apache-2.0). */
#include "gmxpre.h"

#include "weirfarpairs.h"

#include <array>
#include <cmath>
#include <cstdlib>

#include "gromacs/mdlib/gmx_omp_nthreads.h"
#include "gromacs/mdtypes/interaction_const.h"
#include "gromacs/mdtypes/md_enums.h"
#include "gromacs/pbcutil/ishift.h"
#include "gromacs/pbcutil/pbc.h"
#include "gromacs/topology/atoms.h"
#include "gromacs/utility/exceptions.h"
#include "gromacs/utility/stringutil.h"

namespace gmx
{

namespace
{

//! Ranks of thread-MPI are threads of one process; each has its own.
thread_local const interaction_const_t* s_interactions = nullptr;
//! How far the pair list reaches beyond the Coulomb cutoff, nm.
thread_local real s_buffer = 0;

//! Less than this is warned of, nm. In 20 fs a hydrogen atom of 300 K moves by 0.03 nm along a line (root mean square), so that two of them come
//! nearer by 0.1 nm at 2.2 standard deviations.
constexpr real c_buffer = 0.1;

constexpr const char* c_leave = "GMX_WEIR_FAR_PAIRS=keep leaves them as they are: then energy jumps when a pair crosses the cutoff.";

} // namespace

void weirSetInteractions(const interaction_const_t* interactions, const real pairListReach)
{
    s_interactions = interactions;
#if GMX_WEIR_INTERFACE >= 2026
    s_buffer = pairListReach - interactions->coulomb.cutoff;
#else
    s_buffer = pairListReach - interactions->rcoulomb;
#endif
}

//! What is taken of a pair, with the constants of this step.
struct WeirFarPairs::Law
{
    explicit Law(const interaction_const_t& ic)
    {
#if GMX_WEIR_INTERFACE >= 2026
        const auto& coulomb = ic.coulomb;
        type                = coulomb.type;
        cutoff              = coulomb.cutoff;
        beta                = coulomb.ewaldCoeff;
        factor              = coulomb.epsfac;
        k                   = coulomb.reactionFieldCoefficient;
        c                   = coulomb.reactionFieldShift;
        ljPme               = usingLJPme(ic.vdw.type);
        known               = ic.nbnxmIsDirectCoulombProvider;
#else
        type   = ic.eeltype;
        cutoff = ic.rcoulomb;
        beta   = ic.ewaldcoeff_q;
        factor = ic.epsfac;
        k      = ic.reactionFieldCoefficient;
        c      = ic.reactionFieldShift;
        ljPme  = usingLJPme(ic.vdwtype);
        known  = true;
#endif
        // The kernels' own number, in their precision.
        cutoffSquared = cutoff * cutoff;
        ewald         = type == CoulombInteractionType::Pme || type == CoulombInteractionType::Ewald;
        known         = known && (ewald || usingRF(type) || type == CoulombInteractionType::Cut);
        constant      = ewald ? 0 : factor * (k * double(cutoff) * cutoff - c);
    }

    CoulombInteractionType type;
    real                   cutoff, cutoffSquared;
    double                 beta, factor, k, c, constant;
    bool                   ljPme, known, ewald;
};

void WeirFarPairs::Sums::clear(std::size_t atoms)
{
    energy = 0;
    pairs  = 0;
    forces.assign(3 * atoms, 0);
    std::fill(std::begin(virial), std::end(virial), 0.0);
}

WeirFarPairs::WeirFarPairs()
{
    if (const char* set = std::getenv("GMX_WEIR_FAR_PAIRS"))
    {
        if (std::string(set) != "keep")
        {
            GMX_THROW(InvalidInputError(formatString("GMX_WEIR_FAR_PAIRS=%s: it can only be keep, or not be set.", set)));
        }
        active_ = false;
    }
}

void WeirFarPairs::refusePerturbed(const t_atoms& atoms, ArrayRef<const int> group)
{
    if (!active_ || perturbed_ || s_interactions == nullptr || !s_interactions->softCoreParameters)
    {
        return;
    }
    for (const int i : group)
    {
        const t_atom& atom = atoms.atom[i];
        if (atom.q != atom.qB || atom.type != atom.typeB)
        {
            GMX_THROW(NotImplementedError(formatString(
                    "Atom %d of the NNPot group is perturbed (free-energy): Weir cannot take the Coulomb energy of pairs of the group beyond the cutoff "
                    "out for such atoms. Give them the same charge and type in both states. %s",
                    i + 1,
                    c_leave)));
        }
    }
    perturbed_ = true;
}

void WeirFarPairs::compute(ArrayRef<const RVec> positions, ArrayRef<const real> charges, const matrix& box, PbcType pbcType)
{
    total_.clear(positions.size());
    if (!active_)
    {
        return;
    }
    if (s_interactions == nullptr)
    {
        GMX_THROW(InternalError("Weir was not told of the interaction constants: this GROMACS was changed by another version of add_to_gromacs.py."));
    }
    const Law law(*s_interactions);
    ewald_  = law.ewald;
    cutoff_ = law.cutoff;
    buffer_ = s_buffer;
    charged_.clear();
    for (int i = 0; i < positions.ssize(); i++)
    {
        if (charges[i] != 0)
        {
            charged_.push_back(i);
        }
    }
    if (charged_.size() < 2)
    {
        return;
    }
    if (!law.known)
    {
        GMX_THROW(NotImplementedError(formatString(
                "Weir does not know what this type of electrostatics keeps between atoms of the NNPot group beyond the cutoff: use coulombtype = PME, "
                "reaction-field or cut-off. %s",
                c_leave)));
    }
    if (!law.ewald && law.constant == 0)
    {
        return;
    }

    t_pbc pbc;
    set_pbc(&pbc, pbcType, box);
    std::array<RVec, c_numShiftVectors> shifts;
    calc_shifts(box, shifts);
    const int threads = gmx_omp_nthreads_get(ModuleMultiThread::Default);
    ofThread_.resize(threads);
    // Rows are dealt out in turn, and the threads' sums added in order: the same number of threads gives the same bits.
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int thread = 0; thread < threads; thread++)
    {
        Sums& sums = ofThread_[thread];
        sums.clear(positions.size());
        for (std::size_t a = thread; a < charged_.size(); a += threads)
        {
            const int    i  = charged_[a];
            const double qi = law.factor * charges[i];
            for (std::size_t b = 0; b < a; b++)
            {
                const int j = charged_[b];
                RVec      d;
                const int shift = pbc_dx_aiuc(&pbc, positions[i], positions[j], d);
                // As the kernels do, in their precision and order: the pair list moves the atom of a pair whose shift comes before the central one, and a pair
                // belongs to the kernels while its squared distance is less than that of the cutoff.
                const bool  iMoves = shift < c_centralShiftIndex;
                const RVec& moved  = positions[iMoves ? i : j];
                const RVec& still  = positions[iMoves ? j : i];
                const RVec& by     = shifts[iMoves ? shift : 2 * c_centralShiftIndex - shift];
                for (int k = 0; k < 3; k++)
                {
                    const real there = moved[k] + by[k];
                    d[k]             = iMoves ? there - still[k] : still[k] - there;
                }
                const real squared = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
                if (squared < law.cutoffSquared)
                {
                    continue;
                }
                sums.pairs++;
                if (!law.ewald)
                {
                    sums.energy += law.constant * charges[i] * charges[j];
                    continue;
                }
                const double e[3] = { d[0], d[1], d[2] };
                const double r2   = e[0] * e[0] + e[1] * e[1] + e[2] * e[2];
                const double inv  = 1 / std::sqrt(r2);
                const double x    = law.beta * r2 * inv;
                double       held = 1, slope = 0; // erf(x), and x times its derivative
                // erfc(6) is 2e-17.
                if (x < 6)
                {
                    held -= std::erfc(x);
                    slope = M_2_SQRTPI * x * std::exp(-x * x);
                }
                const double energy = qi * charges[j] * held * inv;
                // Force on i is d times this.
                const double scale = -qi * charges[j] * (held - slope) * inv * inv * inv;
                sums.energy -= energy;
                for (int k = 0; k < 3; k++)
                {
                    const double f = scale * e[k];
                    sums.forces[3 * i + k] += f;
                    sums.forces[3 * j + k] -= f;
                    for (int l = 0; l < 3; l++)
                    {
                        sums.virial[3 * l + k] += e[l] * f;
                    }
                }
            }
        }
    }
    for (const Sums& sums : ofThread_)
    {
        total_.energy += sums.energy;
        total_.pairs += sums.pairs;
        for (std::size_t i = 0; i < total_.forces.size(); i++)
        {
            total_.forces[i] += sums.forces[i];
        }
        for (int k = 0; k < 9; k++)
        {
            total_.virial[k] += sums.virial[k];
        }
    }
    if (law.ljPme && total_.pairs > 0)
    {
        GMX_THROW(NotImplementedError(formatString(
                "The NNPot group is wider than the cutoff, beyond which vdwtype = PME keeps dispersion between its atoms that Weir does not take out: "
                "use vdwtype = cut-off. %s",
                c_leave)));
    }
}

std::string WeirFarPairs::summary() const
{
    if (!active_)
    {
        return "GMX_WEIR_FAR_PAIRS=keep: classical Coulomb energy of pairs of the NNPot group beyond the cutoff stays; energy jumps when a pair crosses it.";
    }
    if (total_.pairs == 0)
    {
        return "";
    }
    if (ewald_)
    {
        return formatString(
                "Between atoms of the NNPot group beyond the cutoff (now %g nm, %.0f pairs of charged atoms), the reciprocal sum keeps a classical Coulomb "
                "energy (now %.6g kJ/mol). Weir takes it out of energy (Coul. recip.), forces and pressure.",
                cutoff_,
                total_.pairs,
                -total_.energy);
    }
    return formatString(
            "Excluded pairs of the NNPot group have a reaction-field or shift energy inside the cutoff (%g nm) and none beyond it. Weir gives the pairs beyond "
            "(now %.0f of charged atoms) the energy of a pair at the cutoff (now %.6g kJ/mol in all), so that energy does not jump.",
            cutoff_,
            total_.pairs,
            total_.energy);
}

std::string WeirFarPairs::warning() const
{
    if (!active_ || total_.pairs == 0 || buffer_ >= c_buffer)
    {
        return "";
    }
    return formatString(
            "The pair list reaches only %.3f nm beyond the Coulomb cutoff. Pairs of the NNPot group that come within the cutoff between two searches are missing "
            "from it: energy steps until the next search, and the automatic buffer does not look at such (excluded) pairs. Set verlet-buffer-tolerance = -1 and "
            "rlist = %g or more in the mdp file.",
            buffer_,
            cutoff_ + 2 * c_buffer);
}

} // namespace gmx
