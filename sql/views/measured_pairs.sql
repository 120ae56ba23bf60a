-- Measures of pairs, of all analyses that are means over pairs with an interval over images.
--
-- Grain: one row per kind, method, attack, comparison, measure and pair (target, image_id).
-- `kind` is similarity (the original's map and another, see map_similarity), path (see path_jump) or sanity
-- (see sanity_checks).
-- `value` is the measure of the pair, `noise` that of the same pair's noise control, `chance` what it is of a
-- map with its components in another order, where that is known; `is_tied` whether more than a tenth of the
-- band that it is of ties at the band's edge; `place` its place among measures.
select * from similarity_of_pairs
union all by name
select * from changes_on_the_way
union all by name
select * from sanity_of_maps
