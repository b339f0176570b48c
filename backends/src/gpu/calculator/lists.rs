//! Lists and plans of a calculator: which are in force, and how new ones come.

use super::super::execute::Input;
use super::super::list::most_bins;
use super::super::upload::Atoms;
use super::{GpuCalculator, Neighbours};
use crate::given;
use weir_engine::backend::{Calculator, ComputeError};
use weir_engine::graph::{
    check_order, check_positions, summation_order, Drift, Graph, Grid, Images, NeighbourList, Reach,
};

impl GpuCalculator {
    /// How far atoms may drift from where the list in force was built; none: it does not serve this cell, or there is none.
    pub(super) fn drift(&self, neighbours: Neighbours) -> Option<Drift> {
        match neighbours {
            Neighbours::Own(cell) => self.reach.as_ref()?.under(cell.map(|c| &c.rows)),
            Neighbours::Given(_) => Some(Drift::ANY),
        }
    }

    /// Whether list and plan serve a step in this cell.
    pub(super) fn is_ready(&self, neighbours: Neighbours) -> bool {
        self.executor.in_force(self.types.len()) && self.drift(neighbours).is_some()
    }

    /// A list for these positions where there is none for the cell; a plan where none is in force.
    pub(super) fn make_ready(
        &mut self,
        input: Input,
        positions: &[[f64; 3]],
        neighbours: Neighbours,
    ) -> Result<(), ComputeError> {
        // Given ones were looked at by `given::check` already.
        if let Neighbours::Given(images) = neighbours {
            if let Images::Table(rows) = images {
                self.executor.reserve_table(rows.len())?;
            }
            return match self.executor.in_force(positions.len()) {
                true => Ok(()),
                false => self.plan_for(positions, neighbours),
            };
        }
        given::check_count(positions, self.types.len())?;
        check_positions(positions)?;
        if self.order.len() != positions.len() {
            let order = summation_order(positions, neighbours.rows().as_ref())?;
            self.set_order(&order);
        }
        match self.is_ready(neighbours) {
            true => Ok(()),
            false => self.renew(input, positions, neighbours),
        }
    }

    fn reach_in(&self, cell: Option<[[f64; 3]; 3]>) -> Reach {
        Reach { cutoff: self.graph_options.edge_cutoff, skin: self.skin, cell }
    }

    /// A list of ours for these positions, which have been looked at, and a plan where none is in force.
    pub(super) fn renew(
        &mut self,
        input: Input,
        positions: &[[f64; 3]],
        neighbours: Neighbours,
    ) -> Result<(), ComputeError> {
        let reach = self.reach_in(neighbours.rows());
        if !self.find_on_device(input, positions, &reach)? {
            self.find_on_host(positions, &reach)?;
        }
        self.builds += 1;
        if !self.executor.in_force(positions.len()) {
            self.plan_for(positions, neighbours)?;
        }
        self.reach = Some(reach);
        Ok(())
    }

    /// Whether the device finds a list by itself: it has had one of these atoms, whoever made it, and a plan.
    fn find_on_device(&mut self, input: Input, positions: &[[f64; 3]], reach: &Reach) -> Result<bool, ComputeError> {
        // What it had is of no use from here on, nor what somebody else gave to the host.
        self.reach = None;
        if std::mem::take(&mut self.taken) {
            self.list = NeighbourList::default();
        }
        check_order(&self.order, positions.len())?;
        if !self.executor.in_force(positions.len()) {
            return Ok(false);
        }
        let grid = Grid::in_bins(positions, reach, most_bins(positions.len() as u64) as usize)?;
        // Coordinates reach 1e8 A: in flatter cells numbers of images might not fit 32 bits.
        let flat = reach.cell.is_some() && grid.space.extent.iter().any(|&height| height < 0.2);
        if flat || !grid.is_even() {
            return Ok(false);
        }
        let atoms = Atoms { order: &self.order, types: &self.types };
        let found = self.executor.find_list(atoms, input, &grid)?;
        self.found += usize::from(found);
        Ok(found)
    }

    /// A list of the host for these positions, for itself and for the device.
    fn find_on_host(&mut self, positions: &[[f64; 3]], reach: &Reach) -> Result<(), ComputeError> {
        self.build_list(positions, reach)?;
        match positions.is_empty() {
            true => Ok(()),
            false => self.executor.set_list(&self.list, positions, &self.graph_options, &self.pool),
        }
    }

    /// A list of the host for these positions.
    fn build_list(&mut self, positions: &[[f64; 3]], reach: &Reach) -> Result<(), ComputeError> {
        // The old one goes before the new one comes.
        self.list = NeighbourList::default();
        let (types, order) = (&self.types, &self.order);
        self.list = self
            .pool
            .install(|| NeighbourList::build(positions, reach.cell.as_ref(), types, order, reach.cutoff, reach.skin))?;
        Ok(())
    }

    /// The graph at these positions on the host, and a plan that holds it.
    pub(super) fn plan_for(&mut self, positions: &[[f64; 3]], neighbours: Neighbours) -> Result<(), ComputeError> {
        self.fill(positions, neighbours)?;
        let placed = match positions.is_empty() {
            true => Ok(()),
            false => self.executor.place(&self.graph),
        };
        // 13 kB an atom of water, which nobody needs again before the next plan.
        self.graph = Graph::default();
        placed
    }

    /// The graph on the host: for planning, for atomic virials, and for the words of an error.
    pub(super) fn fill(&mut self, positions: &[[f64; 3]], neighbours: Neighbours) -> Result<(), ComputeError> {
        let cell = neighbours.rows();
        // The device may have found younger ones since.
        if matches!(neighbours, Neighbours::Own(_)) && self.list.is_stale(positions, cell.as_ref()) {
            self.build_list(positions, &self.reach_in(cell))?;
        }
        self.graphs += 1;
        let (graph, list, types, options) = (&mut self.graph, &self.list, &self.types, &self.graph_options);
        self.pool.install(|| graph.fill(list, positions, neighbours.images(), types, options))?;
        Ok(())
    }
}
