/* GROMACS' NNPot backend over Weir's library. Part of Weir (MIT OR Apache-2.0). */
#include "gmxpre.h"

#include "weirmodel.h"

#include "config.h"

#include <cstdlib>
#include <cstring>

#include <algorithm>
#include <stdexcept>

#include "gromacs/gmxlib/network.h"
#include "gromacs/mdtypes/enerdata.h"
#include "gromacs/mdtypes/forceoutput.h"
#include "gromacs/mdtypes/iforceprovider.h"
#include "gromacs/pbcutil/pbc.h"
#include "gromacs/topology/atomprop.h"
#include "gromacs/topology/mtop_util.h"
#include "gromacs/topology/topology.h"
#include "gromacs/utility/exceptions.h"
#include "gromacs/utility/logger.h"
#include "gromacs/utility/stringutil.h"

#include "nnpotoptions.h"

#if GMX_WEIR_INTERFACE >= 2026
#    include "gromacs/topology/embedded_system_preprocessing.h"
#    include "gromacs/utility/mpicomm.h"
#else
#    include "gromacs/mdtypes/commrec.h"
#endif

namespace gmx
{

namespace
{

#ifdef GMX_GPU_HIP
constexpr const char* c_gpuBackend = GMX_GPU_HIP ? "hip" : "cuda";
#else
constexpr const char* c_gpuBackend = "cuda";
#endif

//! Runs a function of Weir's library; its errors become GROMACS' own.
template<typename Exception, typename Function>
auto translated(Function function) -> decltype(function())
{
    std::string why;
    try
    {
        return function();
    }
    catch (const std::runtime_error& e)
    {
        why = e.what();
    }
    GMX_THROW(Exception(why));
}

void refuseElectrostaticEmbedding()
{
    GMX_THROW(NotImplementedError(
            "Weir computes the NNPot group alone: electrostatic embedding (nnpot-embedding = electrostatic-model, atom-positions-mm, "
            "atom-charges-mm) is not possible with its models. Use nnpot-embedding = mechanical."));
}

} // namespace

bool weirTakesModel(const std::string& fileName)
{
    return translated<InvalidInputError>([&] { return weir::takesModel(fileName, GMX_TORCH != 0); });
}

void weirCompleteInputs(std::vector<std::string>* modelInput)
{
    for (const std::string& input : *modelInput)
    {
        if (input == "atom-positions-mm" || input == "atom-charges-mm")
        {
            refuseElectrostaticEmbedding();
        }
    }
    for (const char* needed : { "atom-positions", "atom-numbers", "box", "pbc" })
    {
        if (std::find(modelInput->begin(), modelInput->end(), needed) == modelInput->end())
        {
            const auto empty = std::find(modelInput->begin(), modelInput->end(), "");
            if (empty != modelInput->end())
            {
                *empty = needed;
            }
            else
            {
                modelInput->emplace_back(needed);
            }
        }
    }
}

void weirCheckModel(const std::string&    fileName,
                    ArrayRef<const Index> group,
                    const gmx_mtop_t&     mtop,
                    bool                  electrostaticEmbedding,
                    bool                  haveLinkAtoms,
                    const std::string&    linkType,
                    const MDLogger&       logger)
{
    if (electrostaticEmbedding)
    {
        refuseElectrostaticEmbedding();
    }
    if (std::getenv("GMX_NNPOT_SKIP_MODEL_CHECK") != nullptr)
    {
        GMX_LOG(logger.info).appendText("The model was not looked at: GMX_NNPOT_SKIP_MODEL_CHECK is set.");
        return;
    }
    const t_atoms    atoms = gmx_mtop_global_atoms(mtop);
    std::vector<int> numbers;
    for (const Index i : group)
    {
        numbers.push_back(atoms.atom[i].atomnumber);
    }
    if (haveLinkAtoms)
    {
        AtomProperties properties;
        const int      number = properties.atomNumberFromElement(linkType.c_str());
        if (number < 1)
        {
            GMX_THROW(InconsistentInputError("nnpot-link-type = " + linkType + " is not an element."));
        }
        numbers.push_back(number);
    }
    translated<InconsistentInputError>(
            [&]
            {
                // grompp often runs where no GPU is.
                weir::Potential potential(fileName, "backend=cpu");
                potential.setAtomicNumbers(numbers.data(), numbers.size());
                GMX_LOG(logger.info).appendText("The NNPot model " + fileName + " is for " + potential.origin() + ".\n" + potential.summary());
            });
}

#if GMX_WEIR_INTERFACE >= 2026
void weirMakeLinksWhole(const std::vector<LinkFrontierAtom>& links,
                        ArrayRef<const int>                  inputToGlobal,
                        ArrayRef<RVec>                       positions,
                        const matrix&                        box,
                        PbcType                              pbcType,
                        const std::string&                   fileName)
{
    if (links.empty() || !weirTakesModel(fileName))
    {
        return;
    }
    t_pbc pbc;
    set_pbc(&pbc, pbcType, box);
    for (const LinkFrontierAtom& link : links)
    {
        const auto rowOf = [&](int global)
        { return std::find(inputToGlobal.begin(), inputToGlobal.end(), global) - inputToGlobal.begin(); };
        const auto mm = rowOf(link.getMMIndex());
        const auto nn = rowOf(link.getEmbeddedIndex());
        if (mm >= inputToGlobal.ssize() || nn >= inputToGlobal.ssize())
        {
            GMX_THROW(NotImplementedError(
                    "This version of GROMACS keeps no global indices of other ranks' atoms, so link atoms need a single rank: "
                    "mdrun -ntmpi 1, or one MPI process."));
        }
        RVec bond;
        pbc_dx_aiuc(&pbc, positions[mm], positions[nn], bond);
        positions[mm] = positions[nn] + bond;
    }
}
#endif

WeirModel::~WeirModel() = default;

void WeirModel::open(const std::string& fileName, const MDLogger& logger)
{
    translated<InvalidInputError>(
            [&] { potential_ = std::make_unique<weir::Potential>(fileName, weir::deviceOptions(c_gpuBackend)); });
    GMX_LOG(logger.info)
            .asParagraph()
            .appendText(potential_->origin() + " computes the NNPot group with " + fileName + ".\n" + potential_->summary());
    logger_ = &logger;
}

void WeirModel::passStep(INNPotModel*         model,
                         ForceProviderOutput* output,
                         ArrayRef<const real> charges,
                         ArrayRef<const int>  inputToLocal,
                         const t_atoms&       atoms,
                         ArrayRef<const int>  group)
{
    if (auto* ours = dynamic_cast<WeirModel*>(model))
    {
        ours->forceWithVirial_ = &output->forceWithVirial_;
        ours->farPairs_.refusePerturbed(atoms, group);
        ours->charges_.clear();
        for (const int local : inputToLocal)
        {
            ours->charges_.push_back(local == -1 ? 0 : charges[local]);
        }
    }
}

void WeirModel::evaluate(ArrayRef<const RVec> positions, ArrayRef<const int> atomNumbers, const matrix& box, PbcType pbcType)
{
    if (pbcType != PbcType::Xyz && pbcType != PbcType::No)
    {
        GMX_THROW(NotImplementedError("Weir computes systems that are periodic in all directions or in none: pbc = xyz or no."));
    }
    double vectors[9];
    for (int i = 0; i < 3; i++)
    {
        for (int j = 0; j < 3; j++)
        {
            vectors[3 * i + j] = box[i][j];
        }
    }
    positions_.clear();
    for (const RVec& x : positions)
    {
        positions_.insert(positions_.end(), { x[0], x[1], x[2] });
    }
    const bool virial = forceWithVirial_ != nullptr && forceWithVirial_->computeVirial_;
    translated<InternalError>(
            [&]
            {
                potential_->setAtomicNumbers(atomNumbers.data(), atomNumbers.size());
                evaluation_ = potential_->compute(positions_, pbcType == PbcType::Xyz ? vectors : nullptr, virial);
            });
    farPairs_.compute(positions, charges_, box, pbcType);
    for (size_t i = 0; i < forces_.size(); i++)
    {
        forces_[i] = static_cast<real>(evaluation_.forces[i] + farPairs_.forces()[i]);
    }
    if (logger_ != nullptr)
    {
        if (const std::string told = farPairs_.summary(); !told.empty())
        {
            GMX_LOG(logger_->info).asParagraph().appendText(told);
            if (const std::string warning = farPairs_.warning(); !warning.empty())
            {
                GMX_LOG(logger_->warning).asParagraph().appendText(warning);
            }
            if (const std::string cost = farPairs_.costWarning(); !cost.empty())
            {
                GMX_LOG(logger_->warning).asParagraph().appendText(cost);
            }
            logger_ = nullptr;
        }
    }
}

void WeirModel::addEnergiesAndVirial(gmx_enerdata_t* enerd)
{
#if GMX_WEIR_INTERFACE >= 2026
    real& ofModel           = enerd->term[InteractionFunction::NeuralNetworkPotentialEnergy];
    real& ofReciprocalSum   = enerd->term[InteractionFunction::CoulombReciprocalSpace];
    real& ofReactionField   = enerd->term[InteractionFunction::ReactionFieldExclusion];
#else
    real& ofModel         = enerd->term[F_ENNPOT];
    real& ofReciprocalSum = enerd->term[F_COUL_RECIP];
    real& ofReactionField = enerd->term[F_RF_EXCL];
#endif
    ofModel = static_cast<real>(evaluation_.energy);
    // Others set these terms before (PME on this rank) or add to them later (PME elsewhere).
    (farPairs_.ofReciprocalSum() ? ofReciprocalSum : ofReactionField) += static_cast<real>(farPairs_.energy());

    if (forceWithVirial_ == nullptr || !evaluation_.hasVirial)
    {
        return;
    }
    // GROMACS' virial is -1/2 sum of r (x) F.
    matrix half;
    for (int i = 0; i < 3; i++)
    {
        for (int j = 0; j < 3; j++)
        {
            half[i][j] = static_cast<real>(-0.5 * (evaluation_.virial[3 * i + j] + farPairs_.virial()[3 * i + j]));
        }
    }
    forceWithVirial_->addVirialContribution(half);
    forceWithVirial_      = nullptr;
    evaluation_.hasVirial = false;
}

#if GMX_WEIR_INTERFACE >= 2026

WeirModel::WeirModel(const std::string& fileName, NNPotEmbedding embedding, const MDLogger& logger, const MpiComm& mpiComm) :
    mpiComm_(mpiComm)
{
    if (embedding == NNPotEmbedding::ElectrostaticModel)
    {
        refuseElectrostaticEmbedding();
    }
    if (mpiComm_.isMainRank())
    {
        open(fileName, logger);
    }
}

void WeirModel::evaluateModel(gmx_enerdata_t*                  enerd,
                              ArrayRef<RVec>                   forces,
                              ArrayRef<const int>              indexLookup,
                              ArrayRef<const int> /*mmIndices*/,
                              ArrayRef<const std::string> /*inputs*/,
                              ArrayRef<RVec>                   positions,
                              ArrayRef<int>                    atomNumbers,
                              ArrayRef<int> /*atomPairs*/,
                              ArrayRef<RVec> /*pairShifts*/,
                              ArrayRef<RVec> /*positionsMM*/,
                              ArrayRef<real> /*chargesMM*/,
                              real /*nnpCharge*/,
                              ArrayRef<const LinkFrontierAtom> linkFrontier,
                              BoxArgument                      boxArgument,
                              PbcArgument                      pbcArgument)
{
#    if GMX_WEIR_INTERFACE >= 2027
    matrix&       box     = boxArgument;
    const PbcType pbcType = pbcArgument;
#    else
    matrix&       box     = *boxArgument;
    const PbcType pbcType = *pbcArgument;
#    endif
    forces_.assign(3 * positions.size(), 0);
    if (mpiComm_.isParallel() && farPairs_.active())
    {
        mpiComm_.sumReduce(charges_.size(), charges_.data());
    }
    for (const LinkFrontierAtom& link : linkFrontier)
    {
        // Not of the group: grompp does not exclude it from the others.
        charges_[link.getInputIndexMM()] = 0;
    }
    if (mpiComm_.isMainRank())
    {
        evaluate(positions, atomNumbers, box, pbcType);
        for (const LinkFrontierAtom& link : linkFrontier)
        {
            const int mm = link.getInputIndexMM();
            double    e[3];
            for (int d = 0; d < 3; d++)
            {
                e[d] = positions[mm][d] - positions[link.getInputIndexEmb()][d];
            }
            weir::takeLinkOutOfVirial(e, &evaluation_.forces[3 * mm], evaluation_.virial);
        }
        addEnergiesAndVirial(enerd);
    }
    if (mpiComm_.isParallel())
    {
        mpiComm_.sumReduce(forces_.size(), forces_.data());
    }
    if (!linkFrontier.empty())
    {
        t_pbc pbc;
        set_pbc(&pbc, pbcType, box);
        for (const LinkFrontierAtom& link : linkFrontier)
        {
            real* onMM            = &forces_[3 * link.getInputIndexMM()];
            real* onNN            = &forces_[3 * link.getInputIndexEmb()];
            const auto [toNN, toMM] = link.spreadForce(RVec(onMM[0], onMM[1], onMM[2]), pbc);
            for (int d = 0; d < 3; d++)
            {
                onNN[d] += toNN[d];
                onMM[d] = toMM[d];
            }
        }
    }
    for (size_t i = 0; i < positions.size(); i++)
    {
        if (indexLookup[i] != -1)
        {
            forces[indexLookup[i]] += RVec(forces_[3 * i], forces_[3 * i + 1], forces_[3 * i + 2]);
        }
    }
}

#else

WeirModel::WeirModel(const std::string& fileName, const MDLogger* logger, const t_commrec* cr) : cr_(cr)
{
    if (cr_ == nullptr || MAIN(cr_))
    {
        open(fileName, *logger);
    }
}

void WeirModel::setCommRec(const t_commrec* cr)
{
    cr_ = cr;
}

void WeirModel::prepareAtomPositions(std::vector<RVec>& positions)
{
    inputPositions_ = positions;
}

void WeirModel::prepareAtomNumbers(std::vector<int>& atomNumbers)
{
    inputNumbers_ = atomNumbers;
}

void WeirModel::prepareBox(matrix& box)
{
    std::memcpy(inputBox_, box, sizeof inputBox_);
}

void WeirModel::preparePbcType(PbcType& pbcType)
{
    inputPbc_ = pbcType;
}

void WeirModel::evaluateModel()
{
    forces_.assign(3 * inputPositions_.size(), 0);
    if (havePPDomainDecomposition(cr_) && farPairs_.active())
    {
        gmx_sum(charges_.size(), charges_.data(), cr_);
    }
    if (MAIN(cr_))
    {
        evaluate(inputPositions_, inputNumbers_, inputBox_, inputPbc_);
    }
}

void WeirModel::getOutputs(std::vector<int>& indices, gmx_enerdata_t& enerd, const ArrayRef<RVec>& forces)
{
    if (MAIN(cr_))
    {
        addEnergiesAndVirial(&enerd);
    }
    if (havePPDomainDecomposition(cr_))
    {
        gmx_sum(forces_.size(), forces_.data(), cr_);
    }
    for (size_t i = 0; i < indices.size(); i++)
    {
        if (indices[i] != -1)
        {
            forces[indices[i]] += RVec(forces_[3 * i], forces_[3 * i + 1], forces_[3 * i + 2]);
        }
    }
}

#endif

} // namespace gmx
