//! The plain path: models whose update order the fused layer does not have (`sequential_update`) run through the f64 reference.
//! Exact, slow, and hungry for memory: everything is kept.

use super::calculator::Compute;
use weir_engine::backend::{ComputeError, FrameParameters, Request, Results};
use weir_engine::graph::Graph;
use weir_engine::model::Model;
use weir_engine::plan::placement::{Plan, Problem};
use weir_engine::plan::profile::Profile;
use weir_engine::reference::evaluate;

/// Runs the reference.
#[derive(Default)]
pub struct Plain {
    bytes: u64,
}

impl Compute for Plain {
    fn compute(
        &mut self,
        model: &Model,
        graph: &Graph,
        wrapped: &dyn Fn() -> Vec<[f64; 3]>,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        let wrapped = if request.atomic_virial { wrapped() } else { Vec::new() };
        let run = evaluate(model, graph, &wrapped, parameters, request)
            .map_err(|e| ComputeError::Parameter(e.to_string()))?;
        *results = run.results;
        self.bytes = self.bytes.max(run.bytes);
        Ok(())
    }

    fn bytes(&self) -> Vec<(String, u64)> {
        vec![("hbm".into(), self.bytes)]
    }

    fn set_list_bytes(&mut self, _: u64) {}

    fn problem(&mut self, _: &Graph) -> Option<Problem> {
        None
    }

    fn plan(&self) -> Option<&Plan> {
        None
    }

    fn profile(&self) -> Option<Profile> {
        None
    }

    fn place(&mut self, _: &Graph) -> Result<(), ComputeError> {
        Ok(())
    }

    fn plans(&self) -> usize {
        usize::from(self.bytes > 0)
    }
}
