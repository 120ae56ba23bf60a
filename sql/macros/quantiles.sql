-- The levels of Tables 3 and 4.
create or replace macro relevance_levels() as
[0.001, 0.005, 0.01, 0.1, 0.5, 0.9, 0.99, 0.995, 0.999]::double[];

-- The levels at which rank shifts are reported.
create or replace macro shift_levels() as [0.1, 0.25, 0.5, 0.7, 0.9, 0.99]::double[];

-- The levels at which probabilities of the target are reported; 0.001, 0.005 and 0.01 are the paper's.
create or replace macro probability_levels() as
[0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]::double[];

-- The levels at which the size of changes is reported, from the smallest to the largest.
create or replace macro change_levels() as
[0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1]::double[];

-- The levels at which the correlation of pairs of maps is reported.
create or replace macro correlation_levels() as [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]::double[];
