/* Takes out what GROMACS' electrostatics keeps between atoms of the NNPot group beyond the cutoff. Part of Weir (MIT OR Apache-2.0). */
#include "gmxpre.h"

#include "weirfarpairs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <utility>

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
//! How far the pair list that the kernels run on reaches, nm.
thread_local std::function<real()> s_reach;

//! More charged atoms than this are warned of with PME, whose far pairs are all looked at.
constexpr std::size_t c_manyCharges = 20000;
//! Seconds a far pair of PME takes one thread: 8.2 million in 0.43 s (2PTC, an EPYC of 2021).
constexpr double c_secondsOfPair = 5.2e-8;

//! Less than this is warned of, nm. In 20 fs a hydrogen atom of 300 K moves by 0.03 nm along a line (root mean square), so that two of them come
//! nearer by 0.1 nm at 2.2 standard deviations.
constexpr real c_buffer = 0.1;

constexpr const char* c_leave = "GMX_WEIR_FAR_PAIRS=keep leaves them as they are: then energy jumps when a pair crosses the cutoff.";

} // namespace

void weirSetInteractions(const interaction_const_t* interactions, std::function<real()> pairListReach)
{
    s_interactions = interactions;
    s_reach        = std::move(pairListReach);
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

/*! Nearest images, as the kernels see them.
 *
 * The pair list moves the atom of a pair whose shift comes before the central one, and a pair belongs to the kernels while its squared distance is
 * less than that of the cutoff: the same order of operations in the same precision.
 */
struct WeirFarPairs::Nearest
{
    Nearest(const matrix& box, PbcType pbcType)
    {
        set_pbc(&pbc, pbcType, box);
        calc_shifts(box, shifts);
    }

    //! Vector from j to i, and its square.
    real vector(const RVec& xi, const RVec& xj, RVec* d) const
    {
        const int   shift  = pbc_dx_aiuc(&pbc, xi, xj, *d);
        const bool  iMoves = shift < c_centralShiftIndex;
        const RVec& moved  = iMoves ? xi : xj;
        const RVec& still  = iMoves ? xj : xi;
        const RVec& by     = shifts[iMoves ? shift : 2 * c_centralShiftIndex - shift];
        for (int k = 0; k < 3; k++)
        {
            const real there = moved[k] + by[k];
            (*d)[k]          = iMoves ? there - still[k] : still[k] - there;
        }
        return (*d)[0] * (*d)[0] + (*d)[1] * (*d)[1] + (*d)[2] * (*d)[2];
    }

    t_pbc                                pbc;
    std::array<RVec, c_numShiftVectors> shifts;
};

//! Atoms in cells that are wider than the cutoff, so that all atoms near one lie in its own and the next cells.
class WeirFarPairs::Cells
{
public:
    Cells(ArrayRef<const RVec> positions, const std::vector<int>& atoms, const matrix& box, PbcType pbcType, double cutoff) :
        periodic_(pbcType == PbcType::Xyz)
    {
        // No more cells than a few an atom, however far an atom is from the others.
        const int most = 2 + static_cast<int>(2 * std::cbrt(double(atoms.size())));
        double    axis[3][3], low[3] = { 0, 0, 0 };
        axes(positions, atoms, box, axis, low);
        for (int k = 0; k < 3; k++)
        {
            const double inverse = std::sqrt(axis[k][0] * axis[k][0] + axis[k][1] * axis[k][1] + axis[k][2] * axis[k][2]);
            // What rounding moves is far less than a hundredth of the cutoff.
            const double fit = inverse > 0 ? 1 / (inverse * 1.01 * cutoff) : 1;
            count_[k]        = fit < 3 || !(periodic_ || pbcType == PbcType::No) ? 1 : static_cast<int>(std::min(fit, double(most)));
        }
        start_.assign(std::size_t(count_[0]) * count_[1] * count_[2] + 1, 0);
        for (const int i : atoms)
        {
            std::array<int, 3> cell;
            for (int k = 0; k < 3; k++)
            {
                double part = 0;
                for (int l = 0; l < 3; l++)
                {
                    part += axis[k][l] * (positions[i][l] - low[l]);
                }
                part -= periodic_ ? std::floor(part) : 0;
                cell[k] = std::max(0, std::min(count_[k] - 1, static_cast<int>(part * count_[k])));
            }
            cell_.push_back(cell);
            start_[flat(cell) + 1]++;
        }
        for (std::size_t c = 1; c < start_.size(); c++)
        {
            start_[c] += start_[c - 1];
        }
        member_.resize(atoms.size());
        std::vector<std::size_t> next = start_;
        for (std::size_t a = 0; a < atoms.size(); a++)
        {
            member_[next[flat(cell_[a])]++] = a;
        }
    }

    //! Calls look for every atom (a place in the array of atoms) in the cell of atom a and those around, once each.
    template<typename Function>
    void around(std::size_t a, Function look) const
    {
        std::array<std::vector<int>, 3> along;
        for (int k = 0; k < 3; k++)
        {
            for (int step = -1; step <= 1; step++)
            {
                const int c = cell_[a][k] + step;
                if (count_[k] > 1 ? periodic_ || (c >= 0 && c < count_[k]) : step == 0)
                {
                    along[k].push_back((c + count_[k]) % count_[k]);
                }
            }
        }
        for (const int x : along[0])
        {
            for (const int y : along[1])
            {
                for (const int z : along[2])
                {
                    const std::size_t c = flat({ x, y, z });
                    std::for_each(member_.begin() + start_[c], member_.begin() + start_[c + 1], look);
                }
            }
        }
    }

private:
    std::size_t flat(const std::array<int, 3>& c) const { return (std::size_t(c[0]) * count_[1] + c[1]) * count_[2] + c[2]; }

    //! What turns a position less low into fractions of the (lower triangular) box, or of the atoms' bounds; zero where that has no width.
    void axes(ArrayRef<const RVec> positions, const std::vector<int>& atoms, const matrix& box, double (&axis)[3][3], double (&low)[3]) const
    {
        for (int k = 0; k < 3; k++)
        {
            std::fill(std::begin(axis[k]), std::end(axis[k]), 0.0);
            if (periodic_)
            {
                axis[k][k] = 1 / double(box[k][k]);
                continue;
            }
            const auto less = [&](int i, int j) { return positions[i][k] < positions[j][k]; };
            const auto ends = std::minmax_element(atoms.begin(), atoms.end(), less);
            low[k]          = positions[*ends.first][k];
            const double width = positions[*ends.second][k] - low[k];
            axis[k][k]         = width > 0 ? 1 / width : 0;
        }
        if (periodic_)
        {
            axis[1][2] = -box[2][1] * axis[1][1] * axis[2][2];
            axis[0][1] = -box[1][0] * axis[0][0] * axis[1][1];
            axis[0][2] = -(box[2][0] * axis[2][2] + box[1][0] * axis[1][2]) * axis[0][0];
        }
    }

    bool                            periodic_;
    std::array<int, 3>              count_;
    std::vector<std::array<int, 3>> cell_;
    //! Where each cell's atoms begin.
    std::vector<std::size_t> start_, member_;
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
    buffer_ = s_reach() - law.cutoff;
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

    threads_ = gmx_omp_nthreads_get(ModuleMultiThread::Default);
    ofThread_.resize(threads_);
    const Nearest nearest(box, pbcType);
    if (law.ewald)
    {
        takeOut(law, nearest, positions, charges);
    }
    else
    {
        addConstant(law, nearest, positions, charges, box, pbcType);
    }
    if (law.ljPme && total_.pairs > 0)
    {
        GMX_THROW(NotImplementedError(formatString(
                "The NNPot group is wider than the cutoff, beyond which vdwtype = PME keeps dispersion between its atoms that Weir does not take out: "
                "use vdwtype = cut-off. %s",
                c_leave)));
    }
}

void WeirFarPairs::takeOut(const Law& law, const Nearest& nearest, ArrayRef<const RVec> positions, ArrayRef<const real> charges)
{
    const int threads = threads_;
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
                const int  j = charged_[b];
                RVec       d;
                const real squared = nearest.vector(positions[i], positions[j], &d);
                if (squared < law.cutoffSquared)
                {
                    continue;
                }
                sums.pairs++;
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
}

void WeirFarPairs::addConstant(const Law&           law,
                               const Nearest&       nearest,
                               ArrayRef<const RVec> positions,
                               ArrayRef<const real> charges,
                               const matrix&        box,
                               PbcType              pbcType)
{
    const Cells cells(positions, charged_, box, pbcType, law.cutoff);
    const int   threads = threads_;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int thread = 0; thread < threads; thread++)
    {
        Sums& sums = ofThread_[thread];
        sums.clear(0);
        for (std::size_t a = thread; a < charged_.size(); a += threads)
        {
            cells.around(a,
                         [&](std::size_t b)
                         {
                             RVec d;
                             if (b < a && nearest.vector(positions[charged_[a]], positions[charged_[b]], &d) < law.cutoffSquared)
                             {
                                 sums.pairs++;
                                 sums.energy += double(charges[charged_[a]]) * charges[charged_[b]];
                             }
                         });
        }
    }
    double charge = 0, squares = 0, near = 0, nearPairs = 0;
    for (const int i : charged_)
    {
        charge += charges[i];
        squares += double(charges[i]) * charges[i];
    }
    for (const Sums& sums : ofThread_)
    {
        near += sums.energy;
        nearPairs += sums.pairs;
    }
    const double atoms = charged_.size();
    total_.pairs       = atoms * (atoms - 1) / 2 - nearPairs;
    // Exactly nothing where there is nothing, whatever sums round to.
    total_.energy = total_.pairs > 0 ? law.constant * ((charge * charge - squares) / 2 - near) : 0;
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
            "The pair list that the kernels run on (the inner one, where GROMACS prunes) reaches only %.3f nm beyond the Coulomb cutoff. Pairs of the NNPot group that come within the cutoff between two searches are missing "
            "from it: energy steps until the next search, and the automatic buffer does not look at such (excluded) pairs. Set verlet-buffer-tolerance = -1 (no pruning either) and "
            "rlist = %g or more in the mdp file.",
            buffer_,
            cutoff_ + 2 * c_buffer);
}

std::string WeirFarPairs::costWarning() const
{
    return active_ && ewald_ && total_.pairs > 0 ? costOf(charged_.size(), threads_) : "";
}

std::string WeirFarPairs::costOf(const std::size_t charged, const int threads)
{
    if (charged <= c_manyCharges)
    {
        return "";
    }
    const double pairs = 0.5 * double(charged) * double(charged - 1);
    return formatString(
            "The NNPot group has %.0f charged atoms: taking PME's energy of their far pairs out takes about %.1f s a step. Where all atoms are the model's, set "
            "their charges to 0 in the topology (their images' energy goes, too); else use reaction-field, whose far pairs take no time.",
            double(charged),
            c_secondsOfPair * pairs / threads);
}

} // namespace gmx
