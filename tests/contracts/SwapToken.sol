// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// A token to swap, as the market has them: it returns nothing, and may keep a part of each transfer, or call back.
contract SwapToken {
    string public symbol = "TEST";
    uint8 public decimals = 6;
    uint256 public fee;
    address public called;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    constructor() {
        balanceOf[msg.sender] = 1e30;
    }

    function setFee(uint256 atoms) external {
        fee = atoms;
    }

    /// Whom a transfer calls back with `data`, to see whether that can be paid twice.
    function setCalled(address target) external {
        called = target;
    }

    bytes public data;

    function setData(bytes calldata call) external {
        data = call;
    }

    /// Like USDT: an allowance changes from or to nothing only.
    function approve(address spender, uint256 value) external {
        require(value == 0 || allowance[msg.sender][spender] == 0, "set it to 0 first");
        allowance[msg.sender][spender] = value;
    }

    function transfer(address to, uint256 value) external {
        move(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external {
        allowance[from][msg.sender] -= value;
        move(from, to, value);
    }

    function move(address from, address to, uint256 value) private {
        balanceOf[from] -= value;
        balanceOf[to] += value - fee;
        if (called != address(0)) {
            (bool done,) = called.call(data);
            require(!done, "the call back went through");
        }
    }
}
