-- Which components count for a band pair: by the narrowest bands that they are in, in either map.
--
-- Grain: one row per band pair and pair of places; with it shift_counts join by equality, which is quick.
with

places (place) as (
    values (0), (1), (2)
)

select
    bands.position,
    bands.original_band,
    bands.original_share,
    bands.adversarial_band,
    bands.adversarial_share,
    original_places.place as original_place,
    adversarial_places.place as adversarial_place
from band_pairs as bands
inner join places as original_places on bands.original_place >= original_places.place
inner join places as adversarial_places on bands.adversarial_place >= adversarial_places.place
