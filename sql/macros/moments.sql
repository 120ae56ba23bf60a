-- The edge of a bin of value_counts that is nearest to 0.
create or replace macro bin_edge(bin) as (bin + (bin < 0)::integer) / 40;
