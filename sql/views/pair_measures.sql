-- How alike the two maps of each pair are, in numbers: pair_ranks and pair_values side by side.
--
-- Grain: one row per dataset, model, method, attack, target and image_id.
select *
from pair_ranks
inner join pair_values using (dataset, model, method, attack, target, image_id)
