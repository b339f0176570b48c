// Calls of ffi/gromacs/weirlibrary.h in the order of the NNPot backend: prints energy, forces and virial; see gromacs.rs.
#include "weirlibrary.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

static int failures = 0;

static void check(bool good, const char* what)
{
    if (!good)
    {
        std::fprintf(stderr, "failed: %s\n", what);
        failures++;
    }
}

template<typename Function>
static bool throws(Function function)
{
    try
    {
        function();
    }
    catch (const std::runtime_error&)
    {
        return true;
    }
    return false;
}

static void whichFilesAreOurs()
{
    check(weir::takesModel("a.b/model.dp", true) && weir::takesModel("m.pth", true) && weir::takesModel("m.weir", true), "endings of ours");
    check(!weir::takesModel("model", false) && !weir::takesModel("a.dp/model", false) && !weir::takesModel("m.onnx", false), "endings of others");
    check(weir::takesModel("m.pt", false) && !weir::takesModel("m.pt", true), ".pt is Torch's where there is Torch");
    setenv("GMX_NNPOT_BACKEND", "weir", 1);
    check(weir::takesModel("m.pt", true), ".pt can be asked for");
    setenv("GMX_NNPOT_BACKEND", "other", 1);
    check(throws([] { weir::takesModel("m.pt", true); }), "an unknown GMX_NNPOT_BACKEND");
    unsetenv("GMX_NNPOT_BACKEND");
}

static void whichDevice()
{
    check(weir::deviceOptions("cuda").empty(), "no GMX_NN_DEVICE");
    setenv("GMX_NN_DEVICE", "CPU", 1);
    check(weir::deviceOptions("cuda") == "backend=cpu", "cpu");
    setenv("GMX_NN_DEVICE", "gpu", 1);
    check(weir::deviceOptions("hip") == "backend=hip", "gpu");
    setenv("GMX_NN_DEVICE", "cuda:1", 1);
    check(weir::deviceOptions("cuda") == "backend=cuda;device=1", "cuda:1");
    setenv("WEIR_BACKEND", "cpu", 1);
    check(weir::deviceOptions("cuda").empty(), "WEIR_BACKEND goes first");
    unsetenv("WEIR_BACKEND");
    for (const char* wrong : { "banana", "cuda:", "cuda:x", "cpu:1" })
    {
        setenv("GMX_NN_DEVICE", wrong, 1);
        check(throws([] { weir::deviceOptions("cuda"); }), wrong);
    }
    unsetenv("GMX_NN_DEVICE");
}

static void linkAtoms()
{
    // A force along the bond does no work against strain; one across it keeps its part.
    const double e[3] = { 0, 0, 0.1 }, along[3] = { 0, 0, 5 }, across[3] = { 5, 0, 0 };
    double       w[9] = { 0, 0, 0, 0, 0, 0, 0, 0, 0.5 };
    weir::takeLinkOutOfVirial(e, along, w);
    check(std::fabs(w[8]) < 1e-15, "force along the bond");
    w[2] = 0.5;
    weir::takeLinkOutOfVirial(e, across, w);
    check(w[2] == 0.5 && std::fabs(w[8]) < 1e-15, "force across the bond");
}

int main(int, char** arguments)
{
    whichFilesAreOurs();
    whichDevice();
    linkAtoms();
    try
    {
        weir::Potential           p(arguments[1], "backend=cpu;threads=1");
        const int                 numbers[2] = { 1, 8 }, none[2] = { 1, 0 }, iron[2] = { 26, 8 };
        const double              box[9]     = { 0.9, 0, 0, 0.1, 0.9, 0, 0, 0.1, 0.9 };
        const std::vector<double> x          = { 0.01, 0.02, 0.03, 0.11, 0.04, 0.02 };
        check(throws([&] { p.setAtomicNumbers(none, 2); }), "an atom without an element");
        check(throws([&] { p.setAtomicNumbers(iron, 2); }), "an element that the model lacks");
        check(throws([&] { p.compute(x, box, true); }), "no atoms yet");
        p.setAtomicNumbers(numbers, 2);
        p.compute(x, nullptr, false);
        check(throws([&] { p.compute({ 0.0 }, box, true); }), "positions that do not fit");
        const weir::Evaluation& e = p.compute(x, box, true);
        std::printf("%.17g", e.energy);
        for (const double f : e.forces)
        {
            std::printf(" %.17g", f);
        }
        for (const double v : e.virial)
        {
            std::printf(" %.17g", v);
        }
        std::printf("\n");
        check(p.origin().find("libweir.so") != std::string::npos && !p.summary().empty(), "texts");
        check(!weir::mayHoldDevice(), "nothing on a device");
    }
    catch (const std::runtime_error& e)
    {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
    return failures != 0;
}
