-- The levels of Tables 3 and 4.
create or replace macro relevance_levels() as
[0.001, 0.005, 0.01, 0.1, 0.5, 0.9, 0.99, 0.995, 0.999]::double[];

-- The levels at which rank shifts are reported.
create or replace macro shift_levels() as [0.1, 0.25, 0.5, 0.7, 0.9, 0.99]::double[];
