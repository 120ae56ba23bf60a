-- The cell of a relevance value from -1 to 1: a whole number that never falls when the value grows, so that
-- counts per cell tell in which cell an order statistic lies. Cells are narrow near 0 (1e-8), where most
-- values are, and wide at 1 (0.09). Double arithmetic keeps the order of float32 values, since the quotients
-- of neighbours differ by at least 5e-13 of their size.
-- No cell reaches across an edge of a bin: floor and ceil add 1 on either side of it. So 0 has a cell of its
-- own, 0. Another edge is at |value| = 0.001, where the first two terms are 100.5 and 1000.
create or replace macro relevance_cell(value) as (
    value / (abs(value) + 0.01::double) * 1105.5::double
    + value / (abs(value) + 0.00001::double) * 1010::double
    + floor(value * 40) + ceil(value * 40)
)::smallint;

-- Whether a cell holds values from -0.001 to 0.001 (a bound that no float32 equals).
create or replace macro is_near_zero_cell(cell) as cell between -1101 and 1101;

-- The bin of a relevance value, a fortieth wide: -40 to 40, 1 alone in the last.
create or replace macro relevance_bin(value) as floor(value * 40)::tinyint;

-- The edge of a bin that is nearest to 0.
create or replace macro bin_edge(bin) as (bin + (bin < 0)::integer) / 40;
