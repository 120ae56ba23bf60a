-- The attacks whose maps are held against more than those of originals: those that have controls, or maps of
-- examples explained for the label, too.
--
-- Grain: one row per such attack.
with

designed as (
    select distinct subject from relevance
    where subject != 'original' and explains = 'label'
)

select attack
from attack_subjects
group by attack
having bool_or(is_control or subject in (from designed))
