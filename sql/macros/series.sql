-- A number for a series of maps, the same throughout one query: 64 bits of a hash, so that two of a million
-- series would share it once in 37 million lakes.
create or replace macro series_number(dataset, model, method, subject, explains, target) as
hash(dataset, model, method, subject, explains, target);
