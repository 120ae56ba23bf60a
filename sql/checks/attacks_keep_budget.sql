-- The change of an attack with a fixed budget keeps to it, in the norm that the budget bounds.
select
    pairs.dataset,
    pairs.model,
    pairs.attack,
    pairs.target,
    pairs.image_id,
    attacks.distance,
    attacks.epsilon,
    pairs.l2,
    pairs.linf
from adversarials as pairs
inner join attacks using (attack)
where
    attacks.epsilon is not null
    and coalesce(
        case attacks.distance when 'linf' then pairs.linf when 'l2' then pairs.l2 end
        > attacks.epsilon + 1e-5,
        true
    )
