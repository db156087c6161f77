//! Network optimisation layer (NOL): traffic classes, budgets, link measurement.
