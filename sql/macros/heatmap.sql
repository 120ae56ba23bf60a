-- Columns of the image: as given, or of a square image.
create or replace macro map_width(relevance, width, channels) as
coalesce(width, sqrt(len(relevance) / channels)::bigint);

-- The map as a matrix: a list of rows from the top, each the list of its columns from the left; the relevance
-- of a pixel is summed over its channels. Without a `width` the image is taken to be square.
create or replace macro heatmap(relevance, width := null, channels := 3) as
list_transform(
    range(
        case
            when len(relevance) % nullif(map_width(relevance, width, channels) * channels, 0) != 0
                then error('heatmap: the map is no whole number of rows; give its width and channels')
            else len(relevance) // nullif(map_width(relevance, width, channels) * channels, 0)
        end
    ),
    lambda y: list_transform(
        range(map_width(relevance, width, channels)),
        -- list_slice would copy the whole map for each pixel
        lambda x: list_sum(
            list_transform(
                range(channels),
                lambda c: relevance[(y * map_width(relevance, width, channels) + x) * channels + c + 1]
            )
        )
    )
);
