/* GROMACS' NNPot backend over Weir's library. Part of Weir (MIT OR Apache-2.0).
 *
 * add_to_gromacs.py puts this file beside GROMACS' nnpotmodel.h, with a weirinterface.h that says which form INNPotModel has:
 * 2025 (2025.x), 2026 (2026.x) or 2027 (main after 2026).
 */
#ifndef GMX_APPLIED_FORCES_WEIRMODEL_H
#define GMX_APPLIED_FORCES_WEIRMODEL_H

#include <cstdint>

#include <memory>
#include <string>
#include <vector>

#include "gromacs/applied_forces/nnpot/nnpotmodel.h"
#include "gromacs/applied_forces/nnpot/weirfarpairs.h"
#include "gromacs/applied_forces/nnpot/weirinterface.h"
#include "gromacs/applied_forces/nnpot/weirlibrary.h"
#include "gromacs/utility/arrayref.h"
#include "gromacs/utility/basedefinitions.h"

struct gmx_enerdata_t;
struct gmx_mtop_t;
struct t_atoms;
struct t_commrec;
enum class PbcType;

namespace gmx
{

class ForceProviderOutput;
class ForceWithVirial;
class LinkFrontierAtom;
class MDLogger;
class MpiComm;
enum class NNPotEmbedding;

//! Whether Weir computes this model file; .pt goes to Torch where it is built in, unless GMX_NNPOT_BACKEND=weir.
bool weirTakesModel(const std::string& fileName);

/*! Fills empty nnpot-model-input options with what Weir needs, so that nobody has to write them.
 *
 * Throws InconsistentInputError where positions or charges of MM atoms are asked for (electrostatic embedding).
 */
void weirCompleteInputs(std::vector<std::string>* modelInput);

/*! What grompp asks of a model: it can be read, and knows the element of every atom of the group and of link atoms.
 *
 * Stands in the place of a dummy evaluation. Skipped (but for embedding) when GMX_NNPOT_SKIP_MODEL_CHECK is set.
 */
void weirCheckModel(const std::string&    fileName,
                    ArrayRef<const Index> group,
                    const gmx_mtop_t&     mtop,
                    bool                  electrostaticEmbedding,
                    bool                  haveLinkAtoms,
                    const std::string&    linkType,
                    const MDLogger&       logger);

#if GMX_WEIR_INTERFACE >= 2026
/*! Moves the MM ends of cut bonds to the image next to their atom of the group: mdrun may keep the two on opposite sides of the box.
 *
 * inputToGlobal: global index of each row of positions.
 */
void weirMakeLinksWhole(const std::vector<LinkFrontierAtom>& links,
                        ArrayRef<const int>                  inputToGlobal,
                        ArrayRef<RVec>                       positions,
                        const matrix&                        box,
                        PbcType                              pbcType,
                        const std::string&                   fileName);
#endif

/*! NNPot model that Weir evaluates on the main rank.
 *
 * Energy goes to the energy file's "NN Potential", forces to the ranks that own the atoms, the virial (through passStep) to the pressure.
 * What the classical electrostatics keeps between far atoms of the group (WeirFarPairs) is taken out in passing.
 */
class WeirModel : public INNPotModel
{
public:
#if GMX_WEIR_INTERFACE >= 2026
    WeirModel(const std::string& fileName, NNPotEmbedding embedding, const MDLogger& logger, const MpiComm& mpiComm);

#    if GMX_WEIR_INTERFACE >= 2027
    using BoxArgument = matrix&;
    using PbcArgument = PbcType&;
#    else
    using BoxArgument = matrix*;
    using PbcArgument = PbcType*;
#    endif
    void evaluateModel(gmx_enerdata_t*                  enerd,
                       ArrayRef<RVec>                   forces,
                       ArrayRef<const int>              indexLookup,
                       ArrayRef<const int>              mmIndices,
                       ArrayRef<const std::string>      inputs,
                       ArrayRef<RVec>                   positions,
                       ArrayRef<int>                    atomNumbers,
                       ArrayRef<int>                    atomPairs,
                       ArrayRef<RVec>                   pairShifts,
                       ArrayRef<RVec>                   positionsMM,
                       ArrayRef<real>                   chargesMM,
                       real                             nnpCharge,
                       ArrayRef<const LinkFrontierAtom> linkFrontier,
                       BoxArgument                      box,
                       PbcArgument                      pbcType) override;
    ~WeirModel() override;
#else
    WeirModel(const std::string& fileName, const MDLogger* logger, const t_commrec* cr);
    //! The interface has no virtual destructor; GROMACS holds models in shared pointers that know what they hold.
    ~WeirModel();

    void initModel() override {}
    void prepareAtomPositions(std::vector<RVec>& positions) override;
    void prepareAtomNumbers(std::vector<int>& atomNumbers) override;
    void prepareBox(matrix& box) override;
    void preparePbcType(PbcType& pbcType) override;
    void evaluateModel() override;
    void getOutputs(std::vector<int>& indices, gmx_enerdata_t& enerd, const ArrayRef<RVec>& forces) override;
    void setCommRec(const t_commrec* cr) override;
#endif
    bool outputsForces() const override { return true; }

    /*! Before each evaluation, on every rank: where the virial of this step goes, and the charges of the atoms. Does nothing for models that are not Weir's.
     *
     * inputToLocal: index into charges for each row of positions, or -1 where another rank has the atom. group: global indices.
     */
    static void passStep(INNPotModel*         model,
                         ForceProviderOutput* output,
                         ArrayRef<const real> charges,
                         ArrayRef<const int>  inputToLocal,
                         const t_atoms&       atoms,
                         ArrayRef<const int>  group);

private:
    //! Reads the model and says so in the log.
    void open(const std::string& fileName, const MDLogger& logger);
    //! On the main rank: fills forces_, the evaluation and farPairs_.
    void evaluate(ArrayRef<const RVec> positions, ArrayRef<const int> atomNumbers, const matrix& box, PbcType pbcType);
    //! On the main rank: adds energies and the virial of the last evaluation.
    void addEnergiesAndVirial(gmx_enerdata_t* enerd);

    std::unique_ptr<weir::Potential> potential_;
    //! Of the group, link atoms included; three an atom; the same on every rank after the sum.
    std::vector<real> forces_;
    //! Three an atom.
    std::vector<double> positions_;
    weir::Evaluation    evaluation_;
    WeirFarPairs        farPairs_;
    //! Of the group's atoms of this rank, then of all of them; one a row of positions.
    std::vector<real>   charges_;
    ForceWithVirial*    forceWithVirial_ = nullptr;
    //! Until the far pairs were told of.
    const MDLogger*     logger_ = nullptr;
#if GMX_WEIR_INTERFACE >= 2026
    const MpiComm& mpiComm_;
#else
    const t_commrec*  cr_;
    std::vector<RVec> inputPositions_;
    std::vector<int>  inputNumbers_;
    matrix            inputBox_;
    PbcType           inputPbc_;
#endif
};

} // namespace gmx

#endif
