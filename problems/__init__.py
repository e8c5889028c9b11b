"""The problems, one flat file each, and the one table that names them; importing it imports neither torch nor them."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One line of the table: where a problem's class is, the settings that make this problem of it, what it is."""

    path: str
    settings: dict[str, int | float | str]
    track: str
    summary: str
    needs: str = ""  # what the package does not carry and its user must bring; "" for nothing
    package: str = ""  # what it imports, where that is optional
    extra: str = ""  # the extra of optbench that installs it
    data_set: str = ""  # of `data_files.DATA_SETS`, whose files it reads


def _at(
    path: str,
    track: str,
    summary: str,
    needs: str = "",
    package: str = "",
    extra: str = "",
    **settings: int | float | str,
) -> Entry:
    return Entry(f"optbench.problems.{path}", settings, track, summary, needs, package, extra)


def _coco(path: str, summary: str) -> Entry:
    return _at(path, "function", summary, "the package coco-experiment (`optbench[coco]`)", "cocoex", "coco")


def _ioh(path: str, summary: str) -> Entry:
    return _at(path, "function", summary, "the package ioh (`optbench[ioh]`)", "ioh", "ioh")


def _deepobs(problem: str, track: str, summary: str, reads: str, **settings: int | float | str) -> Entry:
    needs = f"the files of {reads} in the folder OPTBENCH_DATA"
    path = f"optbench.problems.deepobs:{problem}"
    return Entry(path, settings, track, f"DeepOBS: {summary}", needs, data_set=reads)


def _scaled(path: str, track: str, summary: str, **settings: int | float | str) -> Entry:
    needs = "a GPU or patience"
    return Entry(f"optbench.problems.{path}", settings, track, summary, needs)


PROBLEMS: dict[str, Entry] = {
    "sphere": _at("functions:Sphere", "function", "the sphere in 10 dimensions"),
    "ellipsoid": _at("functions:Ellipsoid", "function", "an ellipsoid of condition 1e6 in 10 dimensions"),
    "rosenbrock": _at("functions:Rosenbrock", "function", "Rosenbrock's curved valley in 10 dimensions"),
    "rastrigin": _at("functions:Rastrigin", "function", "Rastrigin's grid of local minima in 10 dimensions"),
    "ackley": _at("functions:Ackley", "function", "Ackley's rippled funnel in 10 dimensions"),
    "griewank": _at("functions:Griewank", "function", "Griewank's coupled ripples in 10 dimensions"),
    "sphere_2d": _at("functions:Sphere", "function", "the sphere in 2 dimensions", dim=2),
    "ellipsoid_2d": _at("functions:Ellipsoid", "function", "an ellipsoid of condition 1e6 in 2 dimensions", dim=2),
    "rosenbrock_2d": _at("functions:Rosenbrock", "function", "Rosenbrock's curved valley in 2 dimensions", dim=2),
    "rastrigin_2d": _at("functions:Rastrigin", "function", "Rastrigin's grid of local minima in 2 dimensions", dim=2),
    "ackley_2d": _at("functions:Ackley", "function", "Ackley's rippled funnel in 2 dimensions", dim=2),
    "griewank_2d": _at("functions:Griewank", "function", "Griewank's coupled ripples in 2 dimensions", dim=2),
    "noisy_quadratic": _at(
        "noisy_quadratic:NoisyQuadratic", "function", "DeepOBS's noisy quadratic, 100 dimensions, two-speed spectrum"
    ),
    "quadratic_deep": _at(
        "quadratic_deep:QuadraticDeep", "function", "DeepOBS's quadratic_deep with its own rotation, to compare with"
    ),
    "bbob": _coco("bbob:Bbob", "COCO's noiseless function f of 24, in d dimensions, instance i"),
    "bbob-noisy": _coco("bbob:BbobNoisy", "COCO's noisy function f, 101 to 130, in d dimensions, instance i"),
    "bbob-largescale": _coco("bbob:BbobLargescale", "COCO's function f of 24 in d = 20 to 640 dimensions, instance i"),
    "ioh-sbox": _ioh("iohprofiler:Sbox", "function f of SBOX-COST, bbob's with the optimum anywhere in a strict box"),
    "ioh-cec2022": _ioh("iohprofiler:Cec2022", "function f of CEC 2022's competition, in 2, 10 or 20 dimensions"),
    "step_1d": _at("step_1d:Step1d", "supervised", "step network on a noisy staircase, exact optimum by dp_step, MSE"),
    "step_bmi": _at("step_bmi:StepBmi", "supervised", "step network on diabetes against bmi, exact optimum, L1"),
    "step_bmi_classes": _at(
        "step_bmi:StepBmiClasses", "supervised", "step network on thirds of diabetes, cross-entropy"
    ),
    "sine_grid_k3_l3": _at(
        "sine_grid:SineGrid", "supervised", "1-3-1 tanh network on a sine, exact over -3..3, MSE", K=3, L=3
    ),
    "sine_grid_k4_l2": _at(
        "sine_grid:SineGrid", "supervised", "1-4-1 tanh network on a sine, exact over -2..2, MSE", K=4, L=2
    ),
    "sine_grid_k4_l3": _at(
        "sine_grid:SineGrid", "supervised", "1-4-1 tanh network on a sine, exact over -3..3, MSE", K=4, L=3
    ),
    "sine_grid_k5_l2": _at(
        "sine_grid:SineGrid", "supervised", "1-5-1 tanh network on a sine, exact over -2..2, MSE", K=5, L=2
    ),
    "xor_sign": _at("xor_sign:XorSign", "supervised", "sign network on exclusive or, exact over an integer grid, BCE"),
    "parity3": _at("parity3:Parity3", "supervised", "sign network on the parity of three bits, exact over a grid, BCE"),
    "line_mse": _at("line:Line", "supervised", "line fit on diabetes, MSE, optimum in closed form"),
    "line_l1": _at("line:LineL1", "supervised", "line fit on diabetes, L1, optimum by linear program"),
    "logistic_cancer": _at(
        "logistic_cancer:LogisticCancer", "supervised", "ridge logistic regression on breast cancer, certified optimum"
    ),
    "mlp_digits": _at("mlp_digits:MlpDigits", "supervised", "64-32-10 network on digits, cross-entropy"),
    "cnn_digits": _at("cnn_digits:CnnDigits", "supervised", "convolution, pooling and dropout on digits"),
    "mlp_diabetes": _at(
        "mlp_regression:MlpRegression", "supervised", "10-16-1 network on diabetes progression, MSE", table="diabetes"
    ),
    "mlp_concrete": _at(
        "mlp_regression:MlpRegression",
        "supervised",
        "8-16-1 network on the strength of concrete, MSE",
        table="concrete",
    ),
    "teacher": _at(
        "teacher:Teacher", "supervised", "a tanh network imitates another of its own shape, optimum 0 at any size"
    ),
    "universal": _at(
        "universal:Universal",
        "supervised",
        "universal approximation: a tanh network follows a known function, width x depth",
    ),
    "mlp_iris": _at("mlp_classes:MlpClasses", "supervised", "4-8-3 network on iris, cross-entropy", table="iris"),
    "mlp_wine": _at("mlp_classes:MlpClasses", "supervised", "13-8-3 network on wine, cross-entropy", table="wine"),
    "mlp_cancer": _at("mlp_binary:MlpBinary", "supervised", "30-8-1 network on breast cancer, BCE", table="cancer"),
    "mlp_alzheimer": _at(
        "mlp_binary:MlpBinary",
        "supervised",
        "135-8-1 network on Alzheimer biomarkers (proteins, genotype), BCE",
        table="alzheimer",
    ),
    "mlp_parkinson": _at(
        "mlp_binary:MlpBinary",
        "supervised",
        "751-8-1 network on Parkinson's speech, more features than people, BCE",
        table="parkinson",
    ),
    "cnn_fashion": _at(
        "cnn_fashion:CnnFashion", "supervised", "convolution, pooling and dropout on a subset of Fashion-MNIST"
    ),
    "cnn_fashion_full": _at(
        "cnn_fashion:CnnFashionFull",
        "supervised",
        "the same network on the full Fashion-MNIST",
        "the four idx.gz files of Fashion-MNIST in a folder",
    ),
    "mnist1d_mlp": _at("mnist1d:Mnist1d", "supervised", "40-100-100-10 network on MNIST-1D, cross-entropy", net="mlp"),
    "mnist1d_cnn": _at("mnist1d:Mnist1d", "supervised", "three convolutions on MNIST-1D, cross-entropy", net="cnn"),
    "mri_synthetic_severity": _at(
        "mri_synthetic:MriSyntheticSeverity", "supervised", "CNN: simulated atrophy of a synthetic MRI phantom, L1"
    ),
    "mri_synthetic_severity_mse": _at(
        "mri_synthetic:MriSyntheticSeverityMse", "supervised", "CNN: simulated atrophy of a synthetic MRI phantom, MSE"
    ),
    "mri_synthetic_class": _at(
        "mri_synthetic:MriSyntheticClass",
        "supervised",
        "CNN: more or less than half the simulated atrophy of a synthetic MRI phantom",
    ),
    "own_images_class": _at(
        "own_images:OwnImagesClass",
        "supervised",
        "CNN: a class from a table of your own images",
        "a CSV table of images and labels",
    ),
    "own_images_regression": _at(
        "own_images:OwnImagesRegression",
        "supervised",
        "CNN: a number from a table of your own images, L1",
        "a CSV table of images and labels",
    ),
    "autoencoder_fashion": _at(
        "autoencoder_fashion:AutoencoderFashion", "unsupervised", "196-64-16-64-196 autoencoder on Fashion-MNIST, MSE"
    ),
    "vae_fashion": _at(
        "vae_fashion:VaeFashion", "unsupervised", "variational autoencoder with 8 latent numbers on Fashion-MNIST"
    ),
    "denoise_fashion": _at(
        "denoise_fashion:DenoiseFashion", "unsupervised", "three convolutions that denoise Fashion-MNIST, MSE"
    ),
    "transformer_shakespeare": _at(
        "transformer_shakespeare:TransformerShakespeare",
        "unsupervised",
        "character-level transformer on As You Like It",
    ),
    "rnn_shakespeare": _at(
        "rnn_shakespeare:RnnShakespeare", "unsupervised", "recurrent network on the characters of As You Like It"
    ),
    "cartpole": _at(
        "cartpole:CartPole", "reinforcement", "balance a pole on a cart: negative return, gradient by REINFORCE"
    ),
    "pendulum": _at(
        "pendulum:Pendulum",
        "reinforcement",
        "swing up a pendulum: negative return, gradient by REINFORCE",
        gradient="score",
    ),
    "pendulum_dynamics": _at(
        "pendulum:Pendulum",
        "reinforcement",
        "swing up a pendulum: negative return, gradient through the physics",
        gradient="dynamics",
    ),
    "mnist_2c2d": _deepobs("TwoConvTwoDense", "supervised", "2c2d on MNIST", "mnist", data_set="mnist"),
    "fmnist_2c2d": _deepobs("TwoConvTwoDense", "supervised", "2c2d on Fashion-MNIST", "fmnist", data_set="fmnist"),
    "mnist_vae": _deepobs("ConvolutionalVae", "unsupervised", "VAE on MNIST", "mnist", data_set="mnist"),
    "fmnist_vae": _deepobs("ConvolutionalVae", "unsupervised", "VAE on Fashion-MNIST", "fmnist", data_set="fmnist"),
    "cifar10_3c3d": _deepobs("ThreeConvThreeDense", "supervised", "3c3d on CIFAR-10", "cifar10"),
    "cifar100_allcnnc": _deepobs("AllConv", "supervised", "All-CNN-C on CIFAR-100", "cifar100"),
    "svhn_wrn164": _deepobs("WideResNet", "supervised", "Wide-ResNet 16-4 on SVHN", "svhn"),
    "tolstoi_char_rnn": _deepobs("CharacterRnn", "unsupervised", "two LSTM layers on War and Peace", "tolstoi"),
    "resnet": _scaled("resnet:ResNet", "supervised", "Wide-ResNet of any size on pictures, by depth and widening"),
    "mlp_mixer": _scaled("mlp_mixer:MlpMixer", "supervised", "MLP-Mixer of any size on pictures, by width and depth"),
}
