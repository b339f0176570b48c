/* Weir's library, opened at run time. Part of Weir (MIT OR Apache-2.0). */
#include "weirlibrary.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "weir.h"

#if !defined(_WIN32)
#    include <dlfcn.h>
#endif
#if defined(__linux__)
#    include <sched.h>
#endif

namespace weir
{

namespace
{

const char* environment(const char* name)
{
    const char* value = std::getenv(name);
    return (value != nullptr && *value != '\0') ? value : nullptr;
}

//! The functions of weir.h that are used here.
struct Library
{
    decltype(&weir_api_version)        apiVersion;
    decltype(&weir_version)            version;
    decltype(&weir_create)             create;
    decltype(&weir_destroy)            destroy;
    decltype(&weir_set_atomic_numbers) setAtomicNumbers;
    decltype(&weir_compute)            compute;
    decltype(&weir_last_error)         lastError;
    decltype(&weir_summary)            summary;
    std::string                        path;
};

#if defined(_WIN32)
Library open()
{
    throw std::runtime_error("Weir's library is opened through dlopen, which this system lacks.");
}
#else
template<typename Function>
void find(void* library, const char* name, const std::string& path, Function* function)
{
    void* symbol = dlsym(library, name);
    if (symbol == nullptr)
    {
        throw std::runtime_error(path + " has no function " + name + ": not Weir's library, or one that is too old.");
    }
    std::memcpy(function, &symbol, sizeof symbol);
}

Library open()
{
    const char* asked = environment("GMX_WEIR_LIBRARY");
    Library     l;
    l.path     = asked != nullptr ? asked : "libweir.so";
    void* here = dlopen(l.path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (here == nullptr)
    {
        const char* why = dlerror();
        throw std::runtime_error("Cannot open Weir's library " + l.path + " (" + (why != nullptr ? why : "no reason given")
                                 + "). Set GMX_WEIR_LIBRARY to the path of libweir.so, or add its folder to LD_LIBRARY_PATH.");
    }
    find(here, "weir_api_version", l.path, &l.apiVersion);
    find(here, "weir_version", l.path, &l.version);
    find(here, "weir_create", l.path, &l.create);
    find(here, "weir_destroy", l.path, &l.destroy);
    find(here, "weir_set_atomic_numbers", l.path, &l.setAtomicNumbers);
    find(here, "weir_compute", l.path, &l.compute);
    find(here, "weir_last_error", l.path, &l.lastError);
    find(here, "weir_summary", l.path, &l.summary);
    if (l.apiVersion() < WEIR_API_VERSION)
    {
        throw std::runtime_error(l.path + " has version " + std::to_string(l.apiVersion()) + " of Weir's interface; "
                                 + std::to_string(WEIR_API_VERSION) + " is needed.");
    }
    return l;
}
#endif

//! Opened once and never closed: the library has threads of its own.
const Library& library()
{
    static const Library l = open();
    return l;
}

//! Text of a function that writes as much as fits and returns what it needs.
template<typename Write>
std::string text(Write write)
{
    std::vector<char> out(write(nullptr, 0) + 1);
    write(out.data(), out.size());
    return out.data();
}

/*! While alive, the calling thread has the affinity of the time when the first potential was made and traps no floating-point exception.
 *
 * mdrun pins its main thread to one core after force providers are made; threads that are started from it would all share that core.
 */
class Undisturbed
{
public:
    Undisturbed()
    {
        feholdexcept(&environment_);
#if defined(__linux__)
        static const cpu_set_t first = affinity();
        before_                      = affinity();
        changed_                     = !CPU_EQUAL(&first, &before_);
        if (changed_)
        {
            sched_setaffinity(0, sizeof first, &first);
        }
#endif
    }
    ~Undisturbed()
    {
#if defined(__linux__)
        if (changed_)
        {
            sched_setaffinity(0, sizeof before_, &before_);
        }
#endif
        fesetenv(&environment_);
    }
    Undisturbed(const Undisturbed&)            = delete;
    Undisturbed& operator=(const Undisturbed&) = delete;

private:
    fenv_t environment_;
#if defined(__linux__)
    static cpu_set_t affinity()
    {
        cpu_set_t set;
        CPU_ZERO(&set);
        sched_getaffinity(0, sizeof set, &set);
        return set;
    }
    cpu_set_t before_;
    bool      changed_ = false;
#endif
};

std::atomic<bool> g_mayHoldDevice{ false };

} // namespace

bool takesModel(const std::string& fileName, bool torchTakesPt)
{
    const auto        slash  = fileName.find_last_of('/');
    const auto        dot    = fileName.find_last_of('.');
    const bool        ended  = dot != std::string::npos && (slash == std::string::npos || dot > slash);
    const std::string ending = ended ? fileName.substr(dot) : "";
    for (const char* ours : { ".dp", ".pth", ".pt2", ".weir", ".yaml", ".yml" })
    {
        if (ending == ours)
        {
            return true;
        }
    }
    if (ending != ".pt")
    {
        return false;
    }
    if (const char* asked = environment("GMX_NNPOT_BACKEND"))
    {
        if (std::strcmp(asked, "weir") != 0 && std::strcmp(asked, "torch") != 0)
        {
            throw std::runtime_error(std::string("GMX_NNPOT_BACKEND is \"") + asked + "\"; weir and torch are possible.");
        }
        return std::strcmp(asked, "weir") == 0;
    }
    return !torchTakesPt;
}

std::string deviceOptions(const char* gpuBackend)
{
    const char* asked = environment("GMX_NN_DEVICE");
    if (asked == nullptr || environment("WEIR_BACKEND") != nullptr)
    {
        return "";
    }
    std::string name = asked;
    for (char& c : name)
    {
        c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
    }
    std::string device;
    const auto  colon = name.find(':');
    if (colon != std::string::npos)
    {
        device = name.substr(colon + 1);
        name   = name.substr(0, colon);
    }
    const bool isIndex = !device.empty() && device.find_first_not_of("0123456789") == std::string::npos;
    if (name == "cpu" && colon == std::string::npos)
    {
        return "backend=cpu";
    }
    if ((name == "gpu" || name == "cuda" || name == "hip") && (colon == std::string::npos || isIndex))
    {
        return "backend=" + (name == "gpu" ? std::string(gpuBackend) : name) + (isIndex ? ";device=" + device : "");
    }
    throw std::runtime_error(std::string("GMX_NN_DEVICE is \"") + asked + "\"; cpu, gpu, cuda, cuda:N, hip and hip:N are possible.");
}

bool mayHoldDevice()
{
    return g_mayHoldDevice;
}

struct Potential::Handle
{
    weir_potential*  potential = nullptr;
    std::vector<int> numbers;
    Evaluation       evaluation;

    std::string why() const
    {
        return text([this](char* out, size_t size) { return library().lastError(potential, out, size); });
    }
};

Potential::Potential(const std::string& modelFile, const std::string& options) : handle_(new Handle)
{
    Undisturbed undisturbed;
    handle_->potential = library().create(modelFile.c_str(), nullptr, options.c_str(), WEIR_UNITS_GROMACS);
    if (handle_->potential == nullptr)
    {
        throw std::runtime_error("Weir: " + handle_->why());
    }
    const char* backend = environment("WEIR_BACKEND");
    if (options.find("backend=cpu") == std::string::npos && (backend == nullptr || std::strcmp(backend, "cpu") != 0))
    {
        g_mayHoldDevice = true;
    }
}

Potential::~Potential()
{
    if (handle_->potential != nullptr)
    {
        Undisturbed undisturbed;
        library().destroy(handle_->potential);
    }
}

void Potential::setAtomicNumbers(const int* numbers, std::size_t atoms)
{
    if (handle_->numbers.size() == atoms && std::equal(numbers, numbers + atoms, handle_->numbers.begin()))
    {
        return;
    }
    for (std::size_t i = 0; i < atoms; i++)
    {
        // Weir takes 0 for an atom that the model does not see.
        if (numbers[i] < 1)
        {
            throw std::runtime_error("Weir: atom " + std::to_string(i + 1)
                                     + " of the group has no atomic number: give one in the force field's [ atomtypes ].");
        }
    }
    Undisturbed                undisturbed;
    const std::vector<int32_t> copy(numbers, numbers + atoms);
    handle_->numbers.clear();
    if (library().setAtomicNumbers(handle_->potential, atoms, copy.data(), nullptr, 0) != WEIR_OK)
    {
        throw std::runtime_error("Weir: " + handle_->why());
    }
    handle_->numbers.assign(numbers, numbers + atoms);
}

const Evaluation& Potential::compute(const std::vector<double>& positions, const double* box, bool virial)
{
    if (handle_->numbers.empty() || positions.size() != 3 * handle_->numbers.size())
    {
        throw std::runtime_error("Weir: " + std::to_string(positions.size() / 3) + " positions for "
                                 + std::to_string(handle_->numbers.size()) + " atoms.");
    }
    Undisturbed undisturbed;
    Evaluation& e = handle_->evaluation;
    e.forces.resize(positions.size());
    e.hasVirial = virial;
    weir_results results = { sizeof(weir_results), &e.energy, e.forces.data(), virial ? e.virial : nullptr, nullptr, nullptr };
    if (library().compute(handle_->potential, positions.data(), box, nullptr, &results) != WEIR_OK)
    {
        throw std::runtime_error("Weir: " + handle_->why());
    }
    return e;
}

std::string Potential::summary() const
{
    return text([this](char* out, size_t size) { return library().summary(handle_->potential, out, size); });
}

std::string Potential::origin() const
{
    return std::string("Weir ") + library().version() + " (" + library().path + ")";
}

void takeLinkOutOfVirial(const double e[3], const double force[3], double virial[9])
{
    const double square = e[0] * e[0] + e[1] * e[1] + e[2] * e[2];
    const double along  = (e[0] * force[0] + e[1] * force[1] + e[2] * force[2]) / square;
    for (int i = 0; i < 3; i++)
    {
        for (int j = 0; j < 3; j++)
        {
            virial[3 * i + j] -= along * e[i] * e[j];
        }
    }
}

} // namespace weir
