-- An untargeted attack has one row an image: the class that it reached.
select
    pairs.dataset,
    pairs.model,
    pairs.attack,
    pairs.image_id,
    count(*) as times
from adversarials as pairs
inner join attacks using (attack)
where not attacks.targeted
group by all
having times > 1
