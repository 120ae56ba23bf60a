-- The cell of a relevance value from -1 to 1: a whole number that never falls when the value grows, so that
-- counts per cell tell in which cell an order statistic lies. Cells are narrow near 0 (1e-8), where most
-- values are, and wide at 1 (0.09). Double arithmetic keeps the order of float32 values, since the quotients
-- of neighbours differ by at least 5e-13 of their size. An edge is at |value| = 0.001, where the two terms
-- are 100.5 and 1000.
create or replace macro relevance_cell(value) as (
    value / (abs(value) + 0.01::double) * 1105.5::double
    + value / (abs(value) + 0.00001::double) * 1010::double
)::smallint;

-- Whether a cell holds values from -0.001 to 0.001 (a bound that no float32 equals).
create or replace macro is_near_zero_cell(cell) as cell between -1100 and 1100;
