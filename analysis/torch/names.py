"""What ATen's operations are to a policy: which operation of the tape each counts as, and which only move numbers."""

from __future__ import annotations

from functools import cache

__all__ = ["FILLS", "is_move", "kept_outputs", "plain", "policy_name"]

_MOVES = frozenset(
    """
    _to_copy _unsafe_index _unsafe_index_put alias_copy as_strided cat clone constant_pad_nd contiguous copy
    diagonal_scatter embedding expand_copy fill flip full full_like gather index index_copy index_fill index_put
    index_select lift_fresh lift_fresh_copy masked_fill masked_scatter masked_select neg new_full new_zeros ones
    ones_like pixel_shuffle repeat roll scalar_tensor scatter select_backward select_scatter slice_backward
    slice_scatter stack tril triu unfold_backward view_copy where zero zeros zeros_like _amp_update_scale
    max_pool2d_with_indices max_pool2d_with_indices_backward reflection_pad1d reflection_pad2d replication_pad1d
    replication_pad2d topk sort kthvalue median nanmedian mode cummax cummin masked_select adaptive_max_pool2d
    adaptive_max_pool2d_backward adaptive_max_pool3d adaptive_max_pool3d_backward max_pool3d_with_indices
    max_pool3d_with_indices_backward upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d
    """.split()
)

FILLS = frozenset(
    """
    constant_pad_nd fill full full_like index_fill index_put lift_fresh lift_fresh_copy masked_fill masked_scatter
    new_full scalar_tensor tril triu where
    """.split()
)
"""Operations whose infinities are meant, such as those of an attention mask."""

_SPEAKS = {
    "matmul": "mm bmm _grouped_mm addmm baddbmm addbmm addmv mv dot vdot linear convolution _convolution "
    "convolution_backward mkldnn_convolution einsum _scaled_dot_product_attention_math "
    "_scaled_dot_product_flash_attention_for_cpu "
    "_scaled_dot_product_flash_attention_for_cpu_backward _scaled_dot_product_flash_attention "
    "_scaled_dot_product_flash_attention_backward _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_efficient_attention_backward _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_cudnn_attention_backward",
    "exp": "_softmax _safe_softmax _softmax_backward_data expm1 exp2 logsumexp softplus softplus_backward elu",
    "log": "_log_softmax _log_softmax_backward_data log1p log2 log10 binary_cross_entropy "
    "binary_cross_entropy_with_logits",
    "sum": "mean cumsum nll_loss_forward nll_loss_backward nll_loss2d_forward mse_loss mse_loss_backward l1_loss "
    "embedding_dense_backward _embedding_bag _embedding_bag_backward scatter_add index_add trace avg_pool2d "
    "avg_pool2d_backward avg_pool3d avg_pool3d_backward _adaptive_avg_pool2d _adaptive_avg_pool3d",
    "rsqrt": "native_layer_norm native_layer_norm_backward native_batch_norm native_batch_norm_backward "
    "_native_batch_norm_legit cudnn_batch_norm native_group_norm native_group_norm_backward "
    "_fused_rms_norm _fused_rms_norm_backward var var_mean",
    "sqrt": "norm linalg_vector_norm std",
    "div": "true_divide reciprocal addcdiv",
    "mul": "square pow addcmul silu silu_backward sigmoid_backward tanh_backward native_dropout",
    "sub": "rsub lerp",
    "erf": "gelu gelu_backward",
}
_BY_NAME = {name: op for op, names in _SPEAKS.items() for name in names.split()}

# Of these only the first outputs are numbers that the next layer reads; the others are statistics that real kernels
# keep in binary32.
_FIRST = (
    "native_layer_norm",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "cudnn_batch_norm",
    "native_group_norm",
    "_fused_rms_norm",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)


@cache
def plain(name: str) -> str:
    """Return an operation's name without namespace, in-place sign and the prefix of those that take many tensors.

    Parameters
    ----------
    name : str

    Returns
    -------
    str

    Examples
    --------
    >>> plain("aten._foreach_add_"), plain("aten._softmax")
    ('add', '_softmax')
    """
    return name.split(".")[-1].rstrip("_").removeprefix("_foreach_")


@cache
def policy_name(name: str) -> str:
    """Return the operation of the tape that a policy's rules mean.

    Parameters
    ----------
    name : str
        Of an ATen operation.

    Returns
    -------
    str
        The plain name where none speaks for it.

    Examples
    --------
    >>> policy_name("aten.addmm"), policy_name("aten._softmax"), policy_name("aten.tanh")
    ('matmul', 'exp', 'tanh')
    """
    own = plain(name)
    return _BY_NAME.get(own, own)


@cache
def is_move(name: str) -> bool:
    """Whether an operation only moves, repeats, chooses or fills numbers, so that nothing is rounded.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool

    Examples
    --------
    >>> is_move("aten.cat"), is_move("aten.masked_fill_"), is_move("aten.add_")
    (True, True, False)
    """
    return plain(name) in _MOVES


@cache
def kept_outputs(name: str) -> int | None:
    """Return how many of the first outputs a policy rounds; None for all.

    Parameters
    ----------
    name : str

    Returns
    -------
    int or None

    Examples
    --------
    >>> kept_outputs("aten.native_layer_norm"), kept_outputs("aten.mm")
    (1, None)
    """
    return 1 if plain(name) in _FIRST else None
