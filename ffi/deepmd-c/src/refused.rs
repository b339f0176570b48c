//! Spin, tensor and dipole models, and device pointers: every function is there, because clients bind them all at once, and says through
//! its `CheckOK` that this version does not compute it.
//!
//! Only the handle is declared of the arguments. By the C calling conventions of Linux the caller clears the others away.

use crate::handle::{at, check_ok, delete, Handle};
use crate::pot::{charge_spins, checks, deletes, getters, type_maps};
use std::ffi::{c_char, c_int};
use std::ptr::null;
use weir_ffi::catch::quiet;
use weir_ffi::{text, Error};

const SPIN: &str =
    "spin models (DeepSpin) are not supported by Weir, which computes DPA3 energy models: use pair_style deepmd";
const TENSOR: &str = "tensor models (DeepTensor: dipoles, polarisabilities) are not supported by Weir, which computes DPA3 energy models";
const DIPOLE: &str = "dipole charge modifiers are not supported by Weir, which computes DPA3 energy models";
const DEVICE: &str = "graphs in device memory are not supported by this version of Weir: pass host memory to DP_DeepPotCompute or DP_DeepPotComputeNList, or use weir_compute_device of libweir";

macro_rules! news {
    ($why:ident: $($name:ident)*) => {$(
        /// A handle that says why there is no model behind it.
        #[no_mangle]
        pub extern "C" fn $name() -> *mut Handle {
            quiet(std::ptr::null_mut(), || Handle::sealed($why))
        }
    )*};
}

macro_rules! refuses {
    ($why:ident: $($name:ident)*) => {$(
        /// Computes nothing and leaves the reason with the handle.
        ///
        /// # Safety
        /// Null or a handle.
        #[no_mangle]
        pub unsafe extern "C" fn $name(dp: *mut Handle) {
            // SAFETY: the caller's promise.
            if let Some(handle) = unsafe { at(dp) } {
                handle.run(|_, _| Err(Error::Unsupported($why.into())));
            }
        }
    )*};
}

macro_rules! no_selections {
    ($($name:ident)*) => {$(
        /// No types.
        #[no_mangle]
        pub extern "C" fn $name(_dp: *mut Handle) -> *mut c_int {
            std::ptr::null_mut()
        }
    )*};
}

news! {
    SPIN:
    DP_NewDeepSpin DP_NewDeepSpinWithParam2 DP_NewDeepSpinModelDevi DP_NewDeepSpinModelDeviWithParam
}
news! {
    TENSOR:
    DP_NewDeepTensor DP_NewDeepTensorWithParam
}
news! {
    DIPOLE:
    DP_NewDipoleChargeModifier DP_NewDipoleChargeModifierWithParam
}
refuses! {
    SPIN:
    DP_DeepSpinCompute2 DP_DeepSpinComputef2 DP_DeepSpinComputeNList2 DP_DeepSpinComputeNListf2 DP_DeepSpinCompute3
    DP_DeepSpinComputef3 DP_DeepSpinComputeNList3 DP_DeepSpinComputeNListf3 DP_DeepSpinComputeCanonicalGraphGPU
    DP_DeepSpinModelDeviCompute2 DP_DeepSpinModelDeviComputef2 DP_DeepSpinModelDeviComputeNList2
    DP_DeepSpinModelDeviComputeNListf2 DP_DeepSpinModelDeviCompute3 DP_DeepSpinModelDeviComputef3
    DP_DeepSpinModelDeviComputeNList3 DP_DeepSpinModelDeviComputeNListf3
}
refuses! {
    TENSOR:
    DP_DeepTensorComputeTensor DP_DeepTensorComputeTensorf DP_DeepTensorComputeTensorNList
    DP_DeepTensorComputeTensorNListf DP_DeepTensorCompute DP_DeepTensorComputef DP_DeepTensorComputeNList
    DP_DeepTensorComputeNListf
}
refuses! {
    DIPOLE:
    DP_DipoleChargeModifierComputeNList DP_DipoleChargeModifierComputeNListf
}
refuses! {
    DEVICE:
    DP_DeepPotComputeEdgesGPU DP_DeepPotComputeEdgesGPUFloat32 DP_DeepPotComputeCanonicalGraphGPU
}
deletes! {
    DP_DeleteDeepSpin DP_DeleteDeepSpinModelDevi DP_DeleteDeepTensor DP_DeleteDipoleChargeModifier
}
checks! {
    DP_DeepSpinCheckOK DP_DeepSpinModelDeviCheckOK DP_DeepTensorCheckOK DP_DipoleChargeModifierCheckOK
}
type_maps! {
    DP_DeepSpinGetTypeMap DP_DeepTensorGetTypeMap
}
charge_spins! {
    DP_DeepSpinSetChargeSpin DP_DeepSpinModelDeviSetChargeSpin
}
no_selections! {
    DP_DeepTensorGetSelTypes DP_DipoleChargeModifierGetSelTypes
}
getters! {
    DP_DeepSpinUsesCanonicalGraphInference -> bool = |_f| false;
    DP_DeepSpinUsesNativeSpinScheme -> bool = |_f| false;
    DP_DeepSpinGetCutoff -> f64 = |f| f.cutoff;
    DP_DeepSpinGetNumbTypes -> c_int = |f| f.types;
    DP_DeepSpinGetNumbTypesSpin -> c_int = |_f| 0;
    DP_DeepSpinGetDimFParam -> c_int = |_f| 0;
    DP_DeepSpinGetDimAParam -> c_int = |_f| 0;
    DP_DeepSpinGetDimChgSpin -> c_int = |_f| 0;
    DP_DeepSpinIsAParamNAll -> bool = |_f| false;
    DP_DeepSpinHasDefaultFParam -> bool = |_f| false;
    DP_DeepSpinModelDeviGetDimFParam -> c_int = |_f| 0;
    DP_DeepSpinModelDeviGetDimAParam -> c_int = |_f| 0;
    DP_DeepSpinModelDeviGetDimChgSpin -> c_int = |_f| 0;
    DP_DeepSpinModelDeviIsAParamNAll -> bool = |_f| false;
    DP_DeepSpinModelDeviHasDefaultFParam -> bool = |_f| false;
    DP_DeepSpinModelDeviGetCutoff -> f64 = |f| f.cutoff;
    DP_DeepSpinModelDeviGetNumbTypes -> c_int = |f| f.types;
    DP_DeepSpinModelDeviGetNumbTypesSpin -> c_int = |_f| 0;
    DP_DeepTensorGetCutoff -> f64 = |f| f.cutoff;
    DP_DeepTensorGetNumbTypes -> c_int = |f| f.types;
    DP_DeepTensorGetOutputDim -> c_int = |_f| 0;
    DP_DeepTensorGetNumbSelTypes -> c_int = |_f| 0;
    DP_DipoleChargeModifierGetCutoff -> f64 = |f| f.cutoff;
    DP_DipoleChargeModifierGetNumbTypes -> c_int = |f| f.types;
    DP_DipoleChargeModifierGetNumbSelTypes -> c_int = |_f| 0;
}
