-- What attacks made of originals: the adversarial examples, without the controls of an attack.
--
-- Grain: one row per attacked pair (image, target), or image of an untargeted attack, failures included.
with

controls as (
    select attack from attacks
    where control_of is not null
)

select *
from adversarials
anti join controls using (attack)
