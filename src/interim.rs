//! The plain reference as a calculator, until the CPU backend is merged.

use anyhow::Result;
use std::sync::Arc;
use weir_engine::backend::{Calculator, ComputeError, FrameParameters, Request, Results};
use weir_engine::graph::{summation_order, Cell, Graph, GraphOptions, NeighbourList};
use weir_engine::model::Model;

struct Reference {
    model: Arc<Model>,
    types: Vec<i32>,
    order: Vec<u32>,
}

pub fn create(model: Arc<Model>, types: &[i32]) -> Result<Box<dyn Calculator>> {
    Ok(Box::new(Reference { model, types: types.to_vec(), order: vec![] }))
}

impl Calculator for Reference {
    fn compute(
        &mut self,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        parameters: &FrameParameters,
        request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        let options = GraphOptions::of(&self.model);
        if self.order.len() != positions.len() {
            self.order = summation_order(positions, cell)?;
        }
        let list = NeighbourList::build(positions, cell, &self.types, &self.order, options.edge_cutoff, 0.0)?;
        let rows = cell.map(Cell::new).transpose()?;
        let mut graph = Graph::default();
        graph.fill(&list, positions, rows.as_ref(), &self.types, &options)?;
        let wrapped: Vec<[f64; 3]> = positions.iter().map(|x| rows.as_ref().map_or(*x, |c| c.wrap(*x).0)).collect();
        *results = weir_engine::reference::evaluate(&self.model, &graph, &wrapped, parameters, request)
            .map_err(|e| ComputeError::Parameter(e.to_string()))?
            .results;
        Ok(())
    }

    fn peak_bytes(&self) -> Vec<(String, u64)> {
        vec![("cpu".into(), 0)]
    }

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn reorder(&mut self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) {
        self.order = summation_order(positions, cell).unwrap_or_default();
    }

    fn order(&self) -> &[u32] {
        &self.order
    }

    fn set_order(&mut self, order: &[u32]) {
        self.order = order.to_vec();
    }
}
