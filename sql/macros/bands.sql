-- Number of components in the band of the `share` most relevant of `n`:
-- round(n * share), half up, at least 1.
create or replace macro band_size(share, n) as greatest(1, floor(n * share::double + 0.5))::integer;
