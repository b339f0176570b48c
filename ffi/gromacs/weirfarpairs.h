/* Takes out what GROMACS' electrostatics keeps between atoms of the NNPot group beyond the cutoff. Part of Weir (MIT OR Apache-2.0). */
#ifndef GMX_APPLIED_FORCES_WEIRFARPAIRS_H
#define GMX_APPLIED_FORCES_WEIRFARPAIRS_H

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "gromacs/applied_forces/nnpot/weirinterface.h"
#include "gromacs/utility/arrayref.h"
#include "gromacs/utility/basedefinitions.h"
#include "gromacs/utility/real.h"

#if GMX_WEIR_INTERFACE >= 2026
#    include "gromacs/utility/vectypes.h"
#else
#    include "gromacs/math/vectypes.h"
#endif

struct interaction_const_t;
struct t_atoms;
enum class PbcType;

namespace gmx
{

/*! Says which interaction constants hold for force providers of the calling thread, and tells when asked how far the pair list reaches that its
 * kernels run on (nm; with dynamic pruning, the inner one); runner.cpp does, once for each rank.
 *
 * They must outlive the run. PME tuning changes them in place (cutoff and lists together), so they are read anew at every step.
 */
void weirSetInteractions(const interaction_const_t* interactions, std::function<real()> pairListReach);

/*! The classical Coulomb energy of excluded pairs of the group beyond the cutoff.
 *
 * The non-bonded kernels look at each excluded pair of their list at each step and, while its nearest image is closer than the cutoff, take out of
 * it what the exclusion should not have left: with PME, q q erf(beta r) / r, which is in the reciprocal sum. Beyond the cutoff they do nothing, so
 * that energy jumps whenever a pair of the group crosses it. This class goes on where they stop:
 *
 * - PME and Ewald: it takes out q q erf(beta r) / r of the nearest image of every pair at or beyond the cutoff: energy, forces, virial.
 * - Reaction field, and a plain cutoff with shifted potential: an excluded pair keeps q q (k r^2 - c) inside and nothing outside. The force is
 *   GROMACS' own and stays; the energy goes on outside with the constant that it has at the cutoff.
 * - A plain cutoff without shift leaves nothing.
 *
 * The first looks at all pairs of charged atoms. The second needs no more than the pairs nearer than the cutoff, found by cells: what is far is all
 * less those.
 */
class WeirFarPairs
{
public:
    //! Reads GMX_WEIR_FAR_PAIRS: not set, or "keep" (does nothing). Throws InvalidInputError where it is something else.
    WeirFarPairs();

    bool active() const { return active_; }

    /*! Throws NotImplementedError where free-energy perturbation changes charges or types of the group. Looks at the first call only.
     *
     * group: global indices.
     */
    void refusePerturbed(const t_atoms& atoms, ArrayRef<const int> group);

    /*! Energy, forces and virial to add, of the atoms at positions with charges (zero for atoms that are not excluded from the group).
     *
     * Throws NotImplementedError for electrostatics that it does not know, and for LJ-PME where there are pairs beyond the cutoff.
     */
    void compute(ArrayRef<const RVec> positions, ArrayRef<const real> charges, const matrix& box, PbcType pbcType);

    //! For the log, after compute(): empty where nothing had to be done.
    std::string summary() const;

    /*! For the user, after compute(): empty where there are no far pairs, or the pair list reaches far enough beyond the cutoff.
     *
     * A pair that comes nearer than the cutoff without being in the list is missing from the energy until the next search; the automatic buffer
     * does not look at excluded pairs.
     */
    std::string warning() const;

    //! For the user, after compute(): empty where it takes little time.
    std::string costWarning() const;

    //! What so many charged atoms take with PME, where that is worth a warning; else empty.
    static std::string costOf(std::size_t charged, int threads);

    //! What follows is of the last compute(). Whether the energy belongs to the reciprocal sum, rather than to reaction field.
    bool ofReciprocalSum() const { return ewald_; }
    //! kJ/mol
    double energy() const { return total_.energy; }
    //! Three an atom, kJ/mol/nm.
    const std::vector<double>& forces() const { return total_.forces; }
    //! Sum of r (x) F, row-major, kJ/mol.
    const double* virial() const { return total_.virial; }

private:
    struct Sums
    {
        void clear(std::size_t atoms);

        double              energy    = 0;
        std::vector<double> forces;
        double              virial[9] = { 0 };
        double              pairs     = 0;
    };
    struct Law;
    struct Nearest;
    class Cells;

    //! PME and Ewald: energy, forces and virial of far pairs.
    void takeOut(const Law& law, const Nearest& nearest, ArrayRef<const RVec> positions, ArrayRef<const real> charges);
    //! Others: the energy of far pairs, which is the same for all but for their charges.
    void addConstant(const Law&           law,
                     const Nearest&       nearest,
                     ArrayRef<const RVec> positions,
                     ArrayRef<const real> charges,
                     const matrix&        box,
                     PbcType              pbcType);

    bool              active_    = true;
    bool              perturbed_ = false;
    bool              ewald_     = false;
    real              cutoff_    = 0;
    real              buffer_    = 0;
    int               threads_   = 1;
    std::vector<int>  charged_;
    std::vector<Sums> ofThread_;
    Sums              total_;
};

} // namespace gmx

#endif
