// Runs the class that takes far pairs out, over declarations of our own in the place of GROMACS'. Says "far pairs: ok", or what is wrong.
#include "declarations.h"

#include <cstdlib>
#include <cstring>

#include "weirfarpairs.h"

using namespace gmx;

namespace
{

constexpr double c_factor = 138.935458, c_cutoff = 0.7, c_beta = 4.4;

void require(bool good, const char* what)
{
    if (!good)
    {
        std::printf("far pairs: %s\n", what);
        std::exit(1);
    }
}

void constants(interaction_const_t* ic, CoulombInteractionType type, double k, double c)
{
#if GMX_WEIR_INTERFACE >= 2026
    ic->vdw.type    = VanDerWaalsType::Cut;
    ic->coulomb     = { type, real(c_cutoff), real(c_beta), real(c_factor), real(k), real(c) };
#else
    ic->vdwtype                  = VanDerWaalsType::Cut;
    ic->eeltype                  = type;
    ic->rcoulomb                 = c_cutoff;
    ic->ewaldcoeff_q             = c_beta;
    ic->epsfac                   = c_factor;
    ic->reactionFieldCoefficient = k;
    ic->reactionFieldShift       = c;
#endif
}

void usePmeForLennardJones(interaction_const_t* ic)
{
#if GMX_WEIR_INTERFACE >= 2026
    ic->vdw.type = VanDerWaalsType::Pme;
#else
    ic->vdwtype = VanDerWaalsType::Pme;
#endif
}

template<typename Function>
std::string refusal(Function function)
{
    try
    {
        function();
    }
    catch (const std::runtime_error& e)
    {
        return e.what();
    }
    return "";
}

bool near(double a, double b, double within)
{
    return std::abs(a - b) < within;
}

/*! Reaction field among many atoms of which few pairs are near, in boxes of several cells: against a sum over all pairs.
 *
 * Says how many of the pairs are far.
 */
double requireSumOverAllPairs(WeirFarPairs* pairs, const matrix& box, PbcType pbcType, double constant, int atoms)
{
    unsigned   seed = 7;
    const auto next = [&seed] { return real((seed = seed * 1664525U + 1013904223U) >> 8) / (1 << 24); };
    std::vector<RVec> x;
    std::vector<real> q;
    for (int i = 0; i < atoms; i++)
    {
        // Some of them outside of the box, as atoms may be.
        const real f[3] = { next() + real(0.4), next() - real(0.3), next() };
        RVec       r(0, 0, 0);
        for (int k = 0; k < 3; k++)
        {
            r += RVec(f[k] * box[k][0], f[k] * box[k][1], f[k] * box[k][2]);
        }
        x.push_back(r);
        q.push_back(i % 7 == 0 ? 0 : next() - real(0.3));
    }
    t_pbc pbc;
    set_pbc(&pbc, pbcType, box);
    double expected = 0, far = 0, all = 0;
    for (int i = 0; i < atoms; i++)
    {
        for (int j = 0; j < i; j++)
        {
            RVec d(0, 0, 0);
            pbc_dx_aiuc(&pbc, x[i], x[j], d);
            const bool isFar = std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]) >= real(c_cutoff);
            const bool charged = q[i] != 0 && q[j] != 0;
            all += charged;
            far += isFar && charged;
            expected += isFar ? constant * q[i] * q[j] : 0;
        }
    }
    pairs->compute(x, q, box, pbcType);
    require(near(pairs->energy(), expected, 1e-9 * std::abs(constant) * all), "the energy is not that of a sum over all pairs");
    require(pairs->summary().find(formatString("now %.0f of charged atoms", far)) != std::string::npos, "number of far pairs");
    require(pairs->forces()[0] == 0, "reaction field changes forces");
    return far / all;
}

} // namespace

int main()
{
    unsetenv("GMX_WEIR_FAR_PAIRS");
    const matrix      box = { { 3, 0, 0 }, { 0, 3.2F, 0 }, { 0, 0, 4 } };
    interaction_const_t ic;
    // Atom 0 is near 1 and far from 2, 3 (through the wall of the box) and 4; 5 has no charge.
    std::vector<RVec> x = { { 0.1F, 1, 1 }, { 0.5F, 1.2F, 1 }, { 1.3F, 1.1F, 1.4F }, { 2.2F, 0.9F, 1 }, { 0.4F, 2.1F, 2.4F }, { 1.5F, 1.5F, 3 } };
    const std::vector<real> q = { 0.5F, -0.4F, 0.3F, -0.7F, 0.6F, 0 };
    WeirFarPairs            pairs;
    require(!refusal([&] { pairs.compute(x, q, box, PbcType::Xyz); }).empty(), "constants are not asked for");
    constants(&ic, CoulombInteractionType::Pme, 0, 0);
    real reach = 0.71F;
    weirSetInteractions(&ic, [&reach] { return reach; });
    pairs.compute(x, q, box, PbcType::Xyz);
    const std::string thin = pairs.warning();
    require(thin.find("0.010 nm") != std::string::npos && thin.find("rlist = 0.9 ") != std::string::npos, "a pair list without a buffer");
    // PME tuning, or a list that is made later: what the list reaches is asked at each step.
    reach = 0.9F;
    pairs.compute(x, q, box, PbcType::Xyz);
    require(pairs.warning().empty(), "a pair list with a buffer");
    const double energy = pairs.energy();
    double       expected = 0;
    for (int i = 0; i < 6; i++)
    {
        for (int j = 0; j < i; j++)
        {
            double r2 = 0;
            for (int k = 0; k < 3; k++)
            {
                const double d = x[i][k] - x[j][k];
                r2 += std::pow(d - box[k][k] * std::round(d / box[k][k]), 2);
            }
            const double r = std::sqrt(r2);
            expected -= r < c_cutoff ? 0 : c_factor * q[i] * q[j] * std::erf(c_beta * r) / r;
        }
    }
    require(std::abs(expected) > 1 && near(energy, expected, 1e-4), "energy");
    require(pairs.ofReciprocalSum() && pairs.summary().find("reciprocal sum") != std::string::npos, "where the energy belongs");
    const std::vector<double> forces = pairs.forces();
    double                    trace = 0;
    for (int k = 0; k < 3; k++)
    {
        trace += pairs.virial()[4 * k];
    }
    const auto energyAt = [&](const std::vector<RVec>& positions, const matrix& inBox)
    {
        pairs.compute(positions, q, inBox, PbcType::Xyz);
        return pairs.energy();
    };
    constexpr double step = 1.0 / 512;
    for (int i = 0; i < 6; i++)
    {
        for (int k = 0; k < 3; k++)
        {
            std::vector<RVec> ahead = x, behind = x;
            ahead[i][k] += step;
            behind[i][k] -= step;
            require(near(forces[3 * i + k], -(energyAt(ahead, box) - energyAt(behind, box)) / (2 * step), 0.01), "forces are not the energy's slope");
        }
    }
    double slope = 0;
    for (const double sign : { 1.0, -1.0 })
    {
        std::vector<RVec> positions = x;
        matrix            scaled    = {};
        for (int k = 0; k < 3; k++)
        {
            scaled[k][k] = box[k][k] * (1 + sign * step);
            for (RVec& p : positions)
            {
                p[k] *= 1 + sign * step;
            }
        }
        slope += sign * energyAt(positions, scaled) / (2 * step);
    }
    require(near(trace, -slope, 0.01) && std::abs(trace) > 1, "virial is not the slope in scaled boxes");

    // A pair exactly at the cutoff is not the kernels', one a bit nearer is.
    const std::vector<real> two = { 1, 1 };
    std::vector<RVec>       line = { { 0, 0, 0 }, { real(c_cutoff), 0, 0 } };
    pairs.compute(line, two, box, PbcType::Xyz);
    require(near(pairs.energy(), -c_factor * std::erf(c_beta * c_cutoff) / c_cutoff, 1e-3), "at the cutoff");
    line[1][0] = std::nextafter(line[1][0], real(0));
    pairs.compute(line, two, box, PbcType::Xyz);
    reach = 0.71F;
    pairs.compute(line, two, box, PbcType::Xyz);
    require(pairs.energy() == 0 && pairs.summary().empty() && pairs.warning().empty(), "within the cutoff");
    require(std::all_of(pairs.forces().begin(), pairs.forces().end(), [](double f) { return f == 0; }), "forces within the cutoff");

    // Inside, an excluded pair has q q (k r r - c): the same at the cutoff from both sides.
    const double k = 0.9, c = 1 / c_cutoff + k * c_cutoff * c_cutoff;
    constants(&ic, CoulombInteractionType::RF, k, c);
    line[1][0] = 1;
    pairs.compute(line, two, box, PbcType::Xyz);
    require(near(pairs.energy(), c_factor * (k * c_cutoff * c_cutoff - c), 1e-3) && pairs.forces()[0] == 0 && !pairs.ofReciprocalSum(), "reaction field");
    const double constant = c_factor * (real(k) * real(c_cutoff) * real(c_cutoff) - real(c));
    const matrix tilted = { { 6, 0, 0 }, { 2.2F, 5.8F, 0 }, { -1.5F, 1.8F, 6.2F } }, flat = { { 9, 0, 0 }, { 0, 8, 0 }, { 0, 0, 0.6F } };
    const matrix narrow = { { 1.6F, 0, 0 }, { 0, 5, 0 }, { 0, 0, 2.2F } }, small = { { 0.3F, 0, 0 }, { 0, 0.3F, 0 }, { 0, 0, 0.3F } };
    require(requireSumOverAllPairs(&pairs, box, PbcType::Xyz, constant, 400) > 0.9, "most pairs are far");
    for (const matrix* vectors : { &tilted, &narrow, &flat })
    {
        requireSumOverAllPairs(&pairs, *vectors, PbcType::Xyz, constant, 300);
        requireSumOverAllPairs(&pairs, *vectors, PbcType::No, constant, 300);
    }
    std::vector<RVec> close;
    for (int i = 0; i < 20; i++)
    {
        close.push_back({ small[0][0] * real(i % 5) / 5, small[1][1] * real(i / 5) / 4, 0 });
    }
    pairs.compute(close, std::vector<real>(20, 0.1F), box, PbcType::Xyz);
    require(pairs.energy() == 0 && pairs.summary().empty(), "reaction field of a narrow group");
    constants(&ic, CoulombInteractionType::Cut, 0, 0);
    pairs.compute(line, two, box, PbcType::Xyz);
    require(pairs.energy() == 0, "plain cutoff");

    constants(&ic, CoulombInteractionType::Fmm, 0, 0);
    require(refusal([&] { pairs.compute(line, two, box, PbcType::Xyz); }).find("coulombtype = PME") != std::string::npos, "unknown electrostatics");
    constants(&ic, CoulombInteractionType::Pme, 0, 0);
    usePmeForLennardJones(&ic);
    require(refusal([&] { pairs.compute(line, two, box, PbcType::Xyz); }).find("vdwtype = cut-off") != std::string::npos, "LJ-PME");

    t_atom                 atoms[2] = { { 6, 1, 1, 0, 0 }, { 6, 1, 0.5F, 0, 0 } };
    const std::vector<int> first = { 0 }, both = { 0, 1 };
    pairs.refusePerturbed({ atoms }, both);
    ic.softCoreParameters = std::make_unique<int>(0);
    require(refusal([&] { WeirFarPairs().refusePerturbed({ atoms }, both); }).find("Atom 2") != std::string::npos, "a perturbed atom");
    pairs.refusePerturbed({ atoms }, first);

    require(WeirFarPairs::costOf(20000, 1).empty(), "what takes little is not warned of");
    const std::string cost = WeirFarPairs::costOf(100000, 10);
    require(cost.find("100000 charged atoms") != std::string::npos && cost.find("about 26.0 s") != std::string::npos, "what takes long is");

    setenv("GMX_WEIR_FAR_PAIRS", "off", 1);
    require(refusal([] { WeirFarPairs(); }).find("can only be keep") != std::string::npos, "a value that it does not know");
    setenv("GMX_WEIR_FAR_PAIRS", "keep", 1);
    WeirFarPairs kept;
    kept.compute(line, two, box, PbcType::Xyz);
    require(!kept.active() && kept.energy() == 0 && !kept.summary().empty(), "keep");
    std::printf("far pairs: ok\n");
}
