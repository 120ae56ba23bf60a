-- Whose maps there may be of an attack's pairs: its own, and its controls'.
--
-- Grain: one row per attack and control; `kind` is its name among comparisons: noise, path 0.5, ...; null of
-- an attack itself. `fraction` is the part of the attack's change, of controls that are made of it.
select
    attack as subject,
    coalesce(control_of, attack) as attack,
    control_of is not null as is_control,
    algorithm,
    if(control_of is not null and algorithm in ('path', 'reverse'), fraction, null) as fraction,
    case
        when control_of is null then null
        when algorithm = 'path' then 'path ' || fraction
        else algorithm
    end as kind
from attacks
