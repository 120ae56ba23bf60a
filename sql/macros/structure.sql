-- Structural similarity of two maps, and what their values have in common whatever their order.

-- Shares of negative, zero and positive values.
create or replace macro sign_shares(relevance) as
list_transform(
    [-1, 0, 1],
    lambda which: len(list_filter(relevance, lambda value: sign(value) = which)) / len(relevance)::double
);

-- Wasserstein-1 distance between the values of two maps: in one dimension the mean distance of sorted values
-- (Ramdas, Garcia Trillos and Cuturi 2017, Entropy 19(2), section 2.3).
create or replace macro wasserstein(relevance_a, relevance_b) as
list_avg(
    list_transform(
        list_zip(list_sort(relevance_a), list_sort(relevance_b)),
        lambda values: abs(values[1]::double - values[2]::double)
    )
);

-- Weights along one side of a window of structural similarity: a Gaussian of standard deviation 1.5 pixels,
-- at most 11 of them, an odd number, and no more than `side`.
create or replace macro ssim_window(side) as
list_transform(
    [
        list_transform(
            range(-(least(11, side) - 1) // 2, (least(11, side) - 1) // 2 + 1),
            lambda place: exp(-place * place / (2 * 1.5 ** 2))
        )
    ],
    lambda heights: list_transform(heights, lambda height: height / list_sum(heights))
)[1];

-- Components, counted from 1, of each window of `size` x `size` within a channel of the image, row by row.
create or replace macro ssim_places(height, width, channels, size) as
list_transform(
    range((height - size + 1) * (width - size + 1) * channels),
    lambda first: list_transform(
        range(size * size),
        lambda place: (
            ((first // channels) // (width - size + 1) + place // size) * width
            + (first // channels) % (width - size + 1) + place % size
        ) * channels + first % channels + 1
    )
);

-- Weighted means of a, b, a^2, b^2 and a b.
create or replace macro window_moments(a, b, weights) as
[
    list_inner_product(weights, a),
    list_inner_product(weights, b),
    list_inner_product(weights, list_transform(a, lambda value: value * value)),
    list_inner_product(weights, list_transform(b, lambda value: value * value)),
    list_inner_product(weights, list_transform(list_zip(a, b), lambda values: values[1] * values[2]))
];

create or replace macro ssim_of_moments(moments) as
list_transform(
    [moments],
    lambda m: (2 * m[1] * m[2] + 0.02 ** 2) / (m[1] ** 2 + m[2] ** 2 + 0.02 ** 2)
    * (2 * (m[5] - m[1] * m[2]) + 0.06 ** 2) / (m[3] - m[1] ** 2 + m[4] - m[2] ** 2 + 0.06 ** 2)
)[1];

-- Structural similarity: mean over windows of equation 13 of Wang, Bovik, Sheikh and Simoncelli 2004 (Image
-- quality assessment, IEEE Transactions on Image Processing 13(4)), with its constants, for values from -1 to
-- 1. `places` are of ssim_places, `side` of ssim_window.
create or replace macro ssim(relevance_a, relevance_b, places, side) as
list_transform(
    [
        list_transform(
            range(len(side) * len(side)),
            lambda i: side[i // len(side) + 1] * side[i % len(side) + 1]
        )
    ],
    lambda weights: list_avg(
        list_transform(
            places,
            lambda here: ssim_of_moments(
                window_moments(
                    list_select(relevance_a, here)::double[],
                    list_select(relevance_b, here)::double[],
                    weights
                )
            )
        )
    )
)[1];
