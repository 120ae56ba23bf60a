-- Whose maps are held against more than an original's: those of controls and of attacks that have some, of
-- examples that are explained for label and target both, of originals explained for another class, or by a
-- randomised network. Of the others the comparison with the original's map is all there is.
--
-- Grain: one row per dataset, model, method and subject that has maps.
with

subjects as (
    select
        dataset,
        model,
        method,
        subject,
        bool_or(explains = 'label') as has_label
    from relevance
    group by dataset, model, method, subject
),

controls as (
    select
        attack,
        control_of
    from attacks
    where control_of is not null
)

select
    dataset,
    model,
    method,
    subject
from subjects
where
    has_label
    or subject in (select attack from controls)
    or subject in (select control_of from controls)
