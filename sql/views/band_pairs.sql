-- The five comparisons of bands of Table 5: where do the top components of the original map stand in the
-- adversarial map?
--
-- Grain: one row per band pair. `*_share` is the band's share of all components (0: the single most relevant
-- one), `*_place` its number, narrowest first: 0 most relevant, 1 top 1 %, 2 top 10 %.
with

bands (
    position,
    original_band,
    original_share,
    original_place,
    adversarial_band,
    adversarial_share,
    adversarial_place
) as (
    values
    (1, 'most relevant', 0.0::double, 0, '1 %', 0.01::double, 1),
    (2, 'most relevant', 0.0::double, 0, '10 %', 0.1::double, 2),
    (3, '1 %', 0.01::double, 1, '1 %', 0.01::double, 1),
    (4, '1 %', 0.01::double, 1, '10 %', 0.1::double, 2),
    (5, '10 %', 0.1::double, 2, '10 %', 0.1::double, 2)
)

select * from bands
